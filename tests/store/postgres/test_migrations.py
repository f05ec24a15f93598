"""Migrations: forward only, checksummed, one at a time."""

import asyncio

import asyncpg
import pytest

from podling.core.errors import ConfigurationError
from podling.store.ports.inbox import InboxKind
from podling.store.postgres import install
from podling.store.postgres.migrations import OLDEST_SERVER, Migration, migrate, shipped
from podling.store.postgres.migrations import _apply_missing as apply_missing
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.store import PostgresStore
from tests.postgres_servers import PostgresServer

LOCK = load("migrations").lock
SOMEBODY_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
NEXT = Migration(shipped()[-1].version + 1, "more", "CREATE TABLE more (n int)")


@pytest.fixture
async def pool(dsn: str):
    opened = Pool(Address(dsn, 10.0), 2)
    await opened.open()
    yield opened
    await opened.close()


def test_they_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in shipped()] == list(range(1, len(shipped()) + 1))


async def test_a_missing_one_is_applied_once(pool: Pool, connection: asyncpg.Connection) -> None:
    known = [*shipped(), NEXT]
    assert await migrate(pool, known) == [NEXT]
    assert await migrate(pool, known) == []
    assert await connection.fetchval("SELECT count(*) FROM more") == 0


async def test_who_waited_for_another_program_s_migration_takes_its_schema(
    postgres_server: PostgresServer,
) -> None:
    """Its first look has found nothing, and the server's memory of that must not outlive the wait."""
    async with postgres_server.empty_database() as dsn:
        first, second = (Pool(Address(dsn, 10.0), 1) for _ in range(2))
        await first.open()
        await second.open()
        try:
            async with first.transaction("SET LOCAL lock_timeout = '10s'") as connection:
                await connection.execute(LOCK)
                waiting = asyncio.create_task(migrate(second))
                async with asyncio.timeout(10):
                    while not await connection.fetchval(SOMEBODY_WAITS):
                        await asyncio.sleep(0.01)
                await apply_missing(connection, shipped())
            assert await waiting == []
        finally:
            await first.close()
            await second.close()


async def test_masters_that_start_together_on_an_empty_database_all_start(
    postgres_server: PostgresServer,
) -> None:
    async with postgres_server.empty_database() as dsn:
        stores = [PostgresStore(dsn) for _ in range(6)]
        try:
            await asyncio.gather(*(store.open() for store in stores))
        finally:
            await asyncio.gather(*(store.close() for store in stores))
        assert (await install.verify(dsn)).is_sound


async def test_one_that_fails_leaves_nothing_behind(pool: Pool, connection: asyncpg.Connection) -> None:
    broken = Migration(NEXT.version + 1, "broken", "SELECT * FROM nothing")
    with pytest.raises(asyncpg.UndefinedTableError):
        await migrate(pool, [*shipped(), NEXT, broken])
    assert await connection.fetchval("SELECT to_regclass('more')") is None
    assert await migrate(pool) == []


async def test_a_newer_schema_is_refused(dsn: str, connection: asyncpg.Connection) -> None:
    await connection.execute("INSERT INTO podling_migrations VALUES (9999, 'later', 'x')")
    with pytest.raises(ConfigurationError, match=r"9999.*start a newer Podling"):
        await PostgresStore(dsn).open()
    with pytest.raises(ConfigurationError, match="9999"):
        await install.verify(dsn)


async def test_a_changed_migration_is_refused(dsn: str, connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE podling_migrations SET checksum = 'other' WHERE version = 2")
    with pytest.raises(ConfigurationError, match="migration 0002"):
        await PostgresStore(dsn).open()


async def test_a_server_too_old_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podling.store.postgres.migrations.OLDEST_SERVER", 990000)
    with pytest.raises(ConfigurationError, match="needs 12 or newer"):
        await PostgresStore(dsn).open()
    assert OLDEST_SERVER == 120000


async def test_commands_install_verify_and_migrate(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        before = await install.verify(dsn)
        assert not before.is_sound
        assert before.pending == tuple(migration.label for migration in shipped())
        assert await install.migrate(dsn) == before.pending
        assert (await install.verify(dsn)).problems[0].endswith("run podling db install")
        after = await install.install(dsn)
        assert after.is_sound
        assert after.applied == before.pending


async def test_verify_names_what_is_missing(dsn: str, connection: asyncpg.Connection) -> None:
    await connection.execute("DROP VIEW nodes; DROP TABLE log_tails; DROP FUNCTION podling_submit(jsonb)")
    problems = (await install.verify(dsn)).problems
    assert [problem.split(" is missing")[0] for problem in problems] == [
        "the relation log_tails",
        "the relation nodes",
        "the function podling_submit(jsonb)",
    ]


async def test_a_database_of_the_schema_before_sql_is_upgraded_with_its_tasks(
    postgres_server: PostgresServer,
) -> None:
    """Version 19 had no inbox; what was pending there is pending, and what is submitted by SQL is let in."""
    old = [migration for migration in shipped() if migration.version <= 19]
    async with postgres_server.empty_database() as dsn:
        pool = Pool(Address(dsn, 10.0), size=2)
        await pool.open()
        try:
            await migrate(pool, old)
            await pool.fetch(
                """
                WITH spec AS (
                    INSERT INTO task_specs (task_id, created_at, kind, name, queue, labels, body)
                    VALUES ('old', now(), 'task', 'job', 'mail', '{}',
                            '{"name": "job", "queue": "mail", "containers": [{"image": "busybox:local"}]}')
                )
                INSERT INTO live_tasks (
                    task_id, version, status, precedence, shape, attempt, created_at, run_at, due
                )
                VALUES ('old', 1, 'pending', 0, 'shape', 0, now(), now(), true)
                """
            )
        finally:
            await pool.close()
        assert (await install.verify(dsn)).version == 19
        report = await install.install(dsn)
        assert report.is_sound and report.version == shipped()[-1].version
        store = PostgresStore(dsn)
        await store.open()
        try:
            assert [task.spec.queue for task in await store.ready_page(10)] == ["mail"]
            await store.inbox.put(InboxKind.SUBMIT, "new", "{}")
            assert [item.task_id for item in await store.inbox.page(0, 10, 1000)] == ["new"]
        finally:
            await store.close()
