"""What is found of a real server: settings, sessions, transactions, dead rows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from podling.core.facts import DatabaseFacts, WaitingTasks
from podling.store.postgres.diagnosis import diagnose
from podling.store.postgres.migrations import shipped
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW, at, build_batch, build_master, build_task, insertion


async def database(store: PostgresStore) -> DatabaseFacts:
    found = (await store.diagnose(NOW)).database
    assert found is not None
    return found


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Pool]:
    pool = Pool(Address(dsn, 10.0), 1)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def test_the_server_is_described(store: PostgresStore, connection: asyncpg.Connection) -> None:
    found = await database(store)
    assert found.version // 10000 == connection.get_server_version().major
    assert found.schema_version == found.known_schema_version == shipped()[-1].version
    assert found.settings["full_page_writes"] == "on"
    assert int(found.settings["max_connections"]) > found.connections >= 2
    assert found.settings["idle_in_transaction_session_timeout"] == "10000"
    assert found.total_bytes > 0
    assert (found.hidden_sessions, found.prepared, found.idle_slots, found.transactions) == (0, (), (), ())


async def test_open_transactions_are_named(dsn: str, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "SET application_name = 'somebody'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
    )
    async with opened(dsn) as pool:
        facts = (await diagnose(pool, 1, NOW, timedelta(0))).database
    assert facts is not None
    [found] = [one for one in facts.transactions if one.application == "somebody"]
    assert (found.state, found.process_id) == ("idle in transaction", connection.get_server_pid())
    assert found.seconds >= 0
    assert found.holds_back_vacuum


async def test_dead_rows_are_counted(store: PostgresStore, connection: asyncpg.Connection) -> None:
    for _ in range(3):
        await connection.execute("UPDATE leadership SET counter = counter + 1")
    await connection.close()  # then it tells its counts at the latest

    async def dead() -> int:
        return {table.name: table.dead_rows for table in (await database(store)).tables}["leadership"]

    async with asyncio.timeout(20):
        while await dead() == 0:
            await asyncio.sleep(0.05)


async def test_a_login_without_rights_is_told_that_it_does_not_see_all(
    store: PostgresStore, connection: asyncpg.Connection, dsn: str
) -> None:
    parts = urlsplit(dsn)
    name = parts.path[1:]  # as unique as the database
    await connection.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
    )
    try:
        address = f"{name}:secret@{parts.netloc.rpartition('@')[2]}"
        async with opened(urlunsplit(parts._replace(netloc=address))) as pool:
            facts = (await diagnose(pool, 1, NOW)).database
        assert facts is not None
        assert facts.hidden_sessions >= 1
        assert facts.connections >= 2
    finally:
        await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_of_very_many_ready_tasks_so_many_are_counted(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.store.postgres.diagnosis.MOST_COUNTED_READY", 3)
    monkeypatch.setattr("podling.store.postgres.diagnosis.MOST_BLOCKED_ROWS", 2)
    await store.register_master(build_master())
    epoch = await store.take_leadership("master-1", await store.leadership())
    assert epoch is not None
    tasks = [build_task(run_at=at(-number)) for number in range(8)]
    await store.commit(build_batch(map(insertion, tasks)))
    await store.block([task.task_id for task in tasks[4:]], epoch)
    facts = await store.diagnose(NOW)
    assert facts.ready == WaitingTasks(tasks=3, task_id=tasks[3].task_id, since=at(-3))
    [blocked] = facts.blocked.values()
    assert blocked == WaitingTasks(tasks=2, task_id=tasks[7].task_id, since=at(-7))
