"""`podling restore`: a backup's rows into an empty database, all of them or none."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from podling.core.errors import ConfigurationError, Conflict, InvalidInput
from podling.core.task import TaskEvent
from podling.core.timeline import RESTORED
from podling.store.postgres import maintenance
from podling.store.postgres.archive import Archive, Manifest, TableEntry
from podling.store.postgres.backup import COPY_SECONDS, PLAIN_TEXT, data_tables, left_out
from podling.store.postgres.install import opened
from podling.store.postgres.migrations import Migration, migrate, shipped, verify
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import to_json

LEAP = 1_000_000
"""By so much epochs and session numbers rise at least.

Two restores of one backup into two new databases know nothing of each other, so the numbers also rise
to the microseconds of the time, which nobody gives out as fast.
"""

_MADE_WITH_SCHEMA = frozenset({"cluster", "leadership"})
_MONTH = re.compile(r"ended_tasks_(\d{4})_(\d{2})")
_SQL = load("backup")


@dataclass(frozen=True)
class Restored:
    """What a restore has done. `live_attempts` wait for their workers to tell what became of them."""

    manifest: Manifest
    live_attempts: int


async def restore(dsn: str, path: Path, *, replace: bool = False) -> Restored:
    """Load the file into the database; with `replace`, in the place of what is there.

    Raises InvalidInput for a damaged or changed file, Conflict for a database that is not empty,
    ConfigurationError for a schema that does not fit, StoreUnavailable.
    """
    archive = Archive.open(path)
    try:
        async with opened(dsn) as pool:
            await _make_schema(pool, archive.manifest)
            async with pool.transaction("SET LOCAL lock_timeout = '30s'", *PLAIN_TEXT) as connection:
                live = await _load(connection, archive, replace)
            await migrate(pool)
            await maintenance.make_partitions(pool)
        return Restored(archive.manifest, live)
    finally:
        archive.close()


async def _make_schema(pool: Pool, manifest: Manifest) -> None:
    """Bring the schema to where it was when the backup was made; what is newer follows the rows."""
    pending = await verify(pool)
    there = len(shipped()) - len(pending)
    if there > manifest.schema_version:
        raise ConfigurationError(
            f"the database's schema has version {there} and the backup {manifest.schema_version}: "
            "restore into a database that has no schema yet"
        )
    await migrate(pool, _known_to(manifest))


def _known_to(manifest: Manifest) -> tuple[Migration, ...]:
    known = shipped()[: manifest.schema_version]
    if tuple(migration.checksum for migration in known) != manifest.migrations:
        raise ConfigurationError(
            f"the backup was made by podling {manifest.podling} with a schema that this program does not "
            "know: restore it with that release, or a newer one"
        )
    return known


async def _load(connection: Connection, archive: Archive, replace: bool) -> int:
    known = await data_tables(connection)
    _compare_tables(archive.manifest, {name: columns for name, _, columns in known})
    tables = {name: quoted for name, quoted, _ in known}
    await _lock(connection, tables)
    given = await connection.fetchrow(_SQL.given)
    assert given is not None
    await _empty(connection, tables, replace)
    await _make_partitions(connection, archive.manifest)
    for table in archive.manifest.tables:
        await _load_table(connection, archive, table)
        await _raise_sequences(connection, tables[table.name])
    await connection.execute(_SQL.leap, LEAP, given["epoch"])
    await connection.execute(_SQL.leap_sessions, LEAP, given["session_no"])
    await connection.execute(_SQL.leap_beats, LEAP, given["session_no"])
    await connection.execute(_SQL.leap_tokens, LEAP, given["token"])
    return await _note_live_attempts(connection, archive.manifest)


def _compare_tables(manifest: Manifest, known: dict[str, tuple[str, ...]]) -> None:
    """Raise InvalidInput unless the file has the rows of each table of Podling's, and of no other."""
    if [(table.name, table.columns) for table in manifest.tables] != sorted(known.items()):
        raise InvalidInput(
            "the file's tables are not those of Podling's schema: it was not written by podling backup, or "
            "was changed since. Use another backup"
        )


async def _lock(connection: Connection, tables: dict[str, str]) -> None:
    every = ", ".join([*tables.values(), *await left_out(connection)])
    await connection.execute(f"LOCK TABLE {every} IN ACCESS EXCLUSIVE MODE")


async def _empty(connection: Connection, tables: dict[str, str], replace: bool) -> None:
    """Empty the tables. Raises Conflict if one has rows that nobody said may go."""
    for name, quoted in [] if replace else tables.items():
        if name not in _MADE_WITH_SCHEMA and await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM {quoted})"
        ):
            raise Conflict(
                f"the database is not empty: the table {name} has rows. Restore into a new database, or "
                "say --replace to lose what is there",
                code="not_empty",
                details={"table": name},
            )
    await connection.execute(f"TRUNCATE {', '.join([*tables.values(), *await left_out(connection)])}")


async def _make_partitions(connection: Connection, manifest: Manifest) -> None:
    for name in manifest.partitions:
        if (match := _MONTH.fullmatch(name)) is None:
            continue
        year, month = int(match[1]), int(match[2])
        following = f"{year + month // 12:04}-{month % 12 + 1:02}-01"
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF ended_tasks "
            f"FOR VALUES FROM ('{year:04}-{month:02}-01 00:00:00+00') TO ('{following} 00:00:00+00')"
        )


async def _load_table(connection: Connection, archive: Archive, table: TableEntry) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in archive.chunks(table.name):
            yield chunk

    await connection.copy_to_table(
        table.name, source=chunks(), columns=list(table.columns), timeout=COPY_SECONDS
    )


async def _raise_sequences(connection: Connection, quoted: str) -> None:
    for row in await connection.fetch(_SQL.sequences, quoted):
        newest = f"coalesce(max({row['column_name']}), 0)"
        await connection.execute(f"SELECT setval('{row['sequence']}', {newest} + 1, false) FROM {quoted}")


async def _note_live_attempts(connection: Connection, manifest: Manifest) -> int:
    """Tell of each attempt that was live that it may have ended since; see `master.sessions.reconcile`."""
    now = datetime.now(UTC)
    rows = await connection.fetch(_SQL.live_attempts)
    events = [
        TaskEvent(
            task_id=row["task_id"],
            at=now,
            type=RESTORED,
            actor="operator",
            message=f"attempt {row['attempt']} was live in the backup of {manifest.made_at}",
            attempt=row["attempt"],
        )
        for row in rows
    ]
    await connection.executemany(_SQL.note, [(item.task_id, item.type, to_json(item)) for item in events])
    return len(rows)
