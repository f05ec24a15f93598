"""Brings the schema up to date: numbered files, forward only, checksummed, one after the other."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import asyncpg

from podling.core.errors import ConfigurationError
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load

OLDEST_SERVER = 120000

_SQL = load("migrations")
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_REFERENCE = {
    "tasks": {"task_id", "name", "image", "env", "status", "node_id", "container_id", "created_at"},
    "nodes": {"node_id", "hostname", "port", "status", "capacity", "running_tasks", "last_heartbeat"},
}.items()


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def label(self) -> str:
        return f"{self.version:04}_{self.name}"

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def shipped() -> tuple[Migration, ...]:
    """Return this program's migrations in order."""
    files = (resources.files(__package__) / "migrations").iterdir()
    found = [(match, file) for file in files if (match := _NAME.fullmatch(file.name))]
    migrations = [Migration(int(match[1]), match[2], file.read_text()) for match, file in found]
    return tuple(sorted(migrations, key=lambda migration: migration.version))


async def migrate(pool: Pool, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what is missing; return it.

    Raises ConfigurationError for a server too old, a schema too new or changed by hand, a database
    that belongs to another program, and a login that may not create tables.
    """
    known = shipped() if migrations is None else migrations
    async with pool.connection() as connection:
        facts = await situation(connection)
        if facts["is_ours"] and not _missing(known, await _applied(connection)):
            return []
    # The lock lives as long as the transaction, so it works through a transaction pooler too.
    async with pool.transaction("SET LOCAL lock_timeout = '60s'") as connection:
        await connection.execute(_SQL.lock)
        return await _apply_missing(connection, known)


async def verify(pool: Pool) -> list[Migration]:
    """Return what is not applied yet; raise ConfigurationError as `migrate` does. Changes nothing."""
    async with pool.connection() as connection:
        facts = await situation(connection)
        if not facts["is_ours"]:
            await _refuse_foreign(connection, facts)
            return list(shipped())
        return _missing(shipped(), await _applied(connection))


async def situation(connection: Connection) -> asyncpg.Record:
    """Return what the server, the database and the login are. Raises ConfigurationError if too old."""
    facts = await connection.fetchrow(_SQL.situation)
    assert facts is not None
    if facts["server_version"] < OLDEST_SERVER:
        raise ConfigurationError(
            f"the server is PostgreSQL {facts['server_version'] // 10000}, and Podling needs 12 or newer"
            ": upgrade it, or use embedded:DIR"
        )
    return facts


async def _applied(connection: Connection) -> dict[int, asyncpg.Record]:
    return {row["version"]: row for row in await connection.fetch(_SQL.applied)}


def _missing(known: Sequence[Migration], applied: dict[int, asyncpg.Record]) -> list[Migration]:
    """Return the migrations to apply. Raises ConfigurationError if the record contradicts them."""
    newest = known[-1].version
    if applied and max(applied) > newest:
        raise ConfigurationError(
            f"the database's schema has version {max(applied)} and this program knows {newest}: "
            "start a newer Podling on it"
        )
    for migration in known:
        record = applied.get(migration.version)
        if record is not None and record["checksum"] != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.version:04} ({migration.name}) was applied to the database with "
                "another content than this program has: use the release that made it, or restore a backup"
            )
    return [migration for migration in known if migration.version not in applied]


async def _apply_missing(connection: Connection, known: Sequence[Migration]) -> list[Migration]:
    facts = await situation(connection)
    if not facts["is_ours"]:
        await _refuse_foreign(connection, facts)
        await _choose_schema(connection, facts)
        await connection.execute(_SQL.make_table)
    missing = _missing(known, await _applied(connection))
    for migration in missing:
        await connection.execute(migration.sql)
        await connection.execute(_SQL.record, migration.version, migration.name, migration.checksum)
    if not facts["is_ours"]:
        await connection.execute(_SQL.set_cluster, secrets.token_hex(4))
    return missing


def _target_schema(facts: asyncpg.Record) -> str:
    """Return where the tables go: the login's default schema, or one of its own, which is found first."""
    return str(facts["schema"] if facts["may_create_table"] else facts["login"])


async def _choose_schema(connection: Connection, facts: asyncpg.Record) -> None:
    """Stay in the login's default schema if it may create there, or make one that `$user` finds."""
    if facts["may_create_table"]:
        return
    if not facts["may_create_schema"]:
        raise ConfigurationError(
            f"the login {facts['login']} may create neither tables nor a schema in the database "
            f"{facts['database']}: as its owner run "
            f"GRANT ALL PRIVILEGES ON DATABASE {facts['database']} TO {facts['login']};"
        )
    quoted = '"' + facts["login"].replace('"', '""') + '"'
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}")


async def _refuse_foreign(connection: Connection, facts: asyncpg.Record) -> None:
    """Never build beside another program's tables of the same names; in another schema they are hidden."""
    schema, database = _target_schema(facts), facts["database"]
    tables = {row["name"]: row for row in await connection.fetch(_SQL.foreign_tables, schema)}
    if not tables:
        return
    if all(name in tables and columns <= set(tables[name]["columns"]) for name, columns in _REFERENCE):
        raise ConfigurationError(
            f"the database {database} was made by the Go program Podling, whose tables this one does not "
            f"take over. Keep them with `pg_dump {database} > podling-go.sql`, then either use a new "
            f"database (`CREATE DATABASE podling2;` and its name in DATABASE_URL) or put them aside with "
            f"`ALTER SCHEMA {schema} RENAME TO podling_go; CREATE SCHEMA {schema}; "
            f"GRANT ALL ON SCHEMA {schema} TO {facts['login']};`"
        )
    names = " and ".join(f"{schema}.{name}" for name in sorted(tables))
    raise ConfigurationError(
        f"relation exists: {names} in the database {database} belong to another program: use a database of "
        f"Podling's own (`CREATE DATABASE podling2;`) or a schema of the login's own "
        f"(`CREATE SCHEMA {facts['login']} AUTHORIZATION {facts['login']};`), or rename them with "
        "ALTER TABLE … RENAME TO …"
    )
