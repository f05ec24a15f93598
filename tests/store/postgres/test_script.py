"""The schema by psql, from a file, is the one that `podling db install` makes."""

from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest

from podling.boot.psql import psql
from podling.store.postgres import install
from podling.store.postgres.migrations import migrate, shipped
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.script import script
from tests.postgres_servers import PostgresServer

SCRIPT_FAILED = 3  # psql's own code for an error with ON_ERROR_STOP
_EVERYTHING = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid) AS preset
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relnamespace = 'public'::regnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "functions": """
        SELECT oid::regprocedure::text, prosrc, prosecdef, proconfig, proacl::text
        FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    """,
    "migrations": "SELECT version, name, checksum FROM podling_migrations",
}


async def run(dsn: str, folder: Path, broker_names: bool = False) -> int:
    """Have psql run the script; return its exit code."""
    file = folder / "podling.sql"
    file.write_text(script(broker_names))
    return await psql(dsn, ["-X", "-q", "-f", str(file)])


async def everything(dsn: str) -> Mapping[str, object]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return {name: sorted(map(str, await connection.fetch(sql))) for name, sql in _EVERYTHING.items()}
    finally:
        await connection.close(timeout=10)


async def test_psql_makes_the_same_schema_of_nothing_and_changes_nothing_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with postgres_server.empty_database() as one, postgres_server.empty_database() as other:
        assert await run(one, tmp_path) == 0
        assert (await install.verify(one)).is_sound
        await install.install(other)
        assert await everything(one) == await everything(other)
        assert await run(one, tmp_path) == 0
        assert await everything(one) == await everything(other)


async def test_psql_applies_what_an_earlier_schema_lacks(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with postgres_server.empty_database() as dsn:
        pool = Pool(Address(dsn, 10.0), size=2)
        await pool.open()
        try:
            await migrate(pool, [migration for migration in shipped() if migration.version <= 19])
        finally:
            await pool.close()
        assert await run(dsn, tmp_path) == 0
        assert (await install.verify(dsn)).is_sound


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("INSERT INTO podling_migrations VALUES (9999, 'later', 'x')", "the schema has version 9999"),
        (
            "UPDATE podling_migrations SET checksum = 'x' WHERE version = 2",
            "migration 2 was applied with another",
        ),
    ],
)
async def test_psql_ends_with_an_error_at_a_newer_or_another_schema(
    dsn: str,
    connection: asyncpg.Connection,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    change: str,
    words: str,
) -> None:
    await connection.execute(change)
    assert await run(dsn, tmp_path) == SCRIPT_FAILED
    assert words in capfd.readouterr().err


async def test_what_another_program_has_there_stays_and_nothing_is_built(
    postgres_server: PostgresServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with postgres_server.empty_database() as dsn:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            await connection.execute("CREATE TABLE queues (mine integer)")
            assert await run(dsn, tmp_path) == SCRIPT_FAILED
            assert 'relation "queues" already exists' in capfd.readouterr().err
            assert await connection.fetchval("SELECT to_regclass('task_specs')") is None
        finally:
            await connection.close(timeout=10)
