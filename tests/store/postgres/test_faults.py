"""What happens to a batch when connections are lost, transactions collide and servers hang."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from podling.core.errors import StaleEpoch, StoreUnavailable
from podling.core.lifecycle import Assign
from podling.store.base import WriteStatus
from podling.store.postgres.errors import DRIVER_ERRORS, lost_connection
from podling.store.postgres.store import PostgresStore
from tests.builders import assignment, build_batch, build_task, happening, insertion

KILL_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def kill_connections(connection: asyncpg.Connection) -> None:
    await connection.execute(KILL_OTHERS)


async def test_a_batch_whose_connection_was_killed_is_committed_once(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    task = build_task()
    batch = build_batch([insertion(task)])
    await store.ping()
    await kill_connections(connection)
    assert [result.status for result in await store.commit(batch)] == [WriteStatus.APPLIED]
    assert await connection.fetchval("SELECT count(*) FROM changes") == 1


async def test_an_answer_lost_on_its_way_is_given_again(store: PostgresStore) -> None:
    task, keyed = build_task(), build_task(idempotency_key="key")
    repeated = replace(insertion(build_task(idempotency_key="key")), body_hash="other")
    batch = build_batch([insertion(task), insertion(keyed), repeated, assignment(build_task())])
    first = await store.commit(batch)
    assert [result.status for result in first] == ["applied", "applied", "duplicate", "conflict"]
    assert await store.commit(batch) == first
    await store.commit(build_batch([assignment(task)]))
    assert await store.commit(batch) == first


async def test_a_repeat_is_answered_although_the_epoch_has_passed(store: PostgresStore) -> None:
    epoch = await store.take_leadership("master-1", await store.leadership())
    batch = build_batch([insertion(build_task())], epoch=epoch)
    first = await store.commit(batch)
    await store.take_leadership("master-2", await store.leadership())
    assert await store.commit(batch) == first
    with pytest.raises(StaleEpoch):
        await store.commit(build_batch([insertion(build_task())], epoch=epoch))


async def test_a_deadlock_is_repeated(store: PostgresStore, connection: asyncpg.Connection) -> None:
    low, high = sorted((build_task(), build_task()), key=lambda task: task.task_id)
    await store.commit(build_batch([insertion(low), insertion(high)]))
    lock = "SELECT FROM live_tasks WHERE task_id = $1 FOR UPDATE"
    async with connection.transaction():
        # So that the store's transaction is the one that gives way.
        await connection.execute("SET LOCAL deadlock_timeout = '60s'")
        await connection.execute(lock, high.task_id)
        writes = [happening(task, Assign(node_id="node-1")) for task in (low, high)]
        commit = asyncio.create_task(store.commit(build_batch(writes)))
        await _until_somebody_waits(connection)
        await connection.execute(lock, low.task_id)
    results = await asyncio.wait_for(commit, 30)
    assert {result.status for result in results} == {WriteStatus.APPLIED}


async def _until_somebody_waits(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await connection.execute("SELECT pg_sleep(0.01)")


async def test_a_takeover_waits_for_a_leaders_commit_and_a_renewal_does_not(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    epoch = await store.take_leadership("master-1", await store.leadership())
    assert epoch is not None
    seen = await store.leadership()
    async with connection.transaction():
        await connection.fetchrow("SELECT FROM leadership FOR KEY SHARE")
        takeover = asyncio.create_task(store.take_leadership("master-2", seen))
        await _until_somebody_waits(connection)
        assert not takeover.done()
    assert await asyncio.wait_for(takeover, 10) == epoch + 1
    async with connection.transaction():
        await connection.fetchrow("SELECT FROM leadership FOR KEY SHARE")
        assert await asyncio.wait_for(store.renew_leadership("master-2", epoch + 1), 10)


async def test_a_leader_that_hangs_in_a_transaction_is_cut_off(dsn: str) -> None:
    store = PostgresStore(dsn, leader_timeout_seconds=0.2)
    await store.open()
    try:
        with pytest.raises(DRIVER_ERRORS) as lost:
            async with store._pool.transaction(*store._guard.settings(1)) as connection:
                cut_off = asyncio.Event()
                connection.add_termination_listener(lambda _: cut_off.set())
                await asyncio.wait_for(cut_off.wait(), 10)
        assert lost_connection(lost.value)
        await store.ping()
    finally:
        await store.close()


async def test_a_lock_held_too_long_is_told_in_time(dsn: str, connection: asyncpg.Connection) -> None:
    store = PostgresStore(dsn, command_timeout_seconds=0.5)
    await store.open()
    task = build_task()
    await store.commit(build_batch([insertion(task)]))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE live_tasks IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                await asyncio.wait_for(store.load_tasks([task.task_id]), 10)
        assert task.task_id in await store.load_tasks([task.task_id])
    finally:
        await store.close()
