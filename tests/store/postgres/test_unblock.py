"""What comes back of a shape while others write to its tasks."""

import asyncio

import asyncpg

from podling.store.postgres.store import PostgresStore
from tests.builders import build_batch, build_task, insertion


async def _waits_for_a_lock(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)


async def test_a_task_that_is_cancelled_meanwhile_hides_none_of_the_others(
    store: PostgresStore, connection: asyncpg.Connection, dsn: str
) -> None:
    tasks = [build_task(task_id=f"t{number}", shape="s") for number in range(10)]
    await store.commit(build_batch(map(insertion, tasks)))
    epoch = await store.take_leadership("leader", await store.leadership())
    assert epoch is not None
    await store.block([task.task_id for task in tasks], epoch)
    other = await asyncpg.connect(dsn, timeout=10)
    try:
        ending = other.transaction()
        await ending.start()
        await other.execute("DELETE FROM live_tasks WHERE task_id = 't0'")
        unblocking = asyncio.create_task(store.unblock({"s": 2}, epoch))
        await _waits_for_a_lock(connection)
        await ending.commit()
    finally:
        await other.close(timeout=10)
    assert await unblocking == {"s": 2}  # as many as were asked for, so there may be more
    assert [task.task_id for task in await store.ready_page(100)] == ["t1"]
    assert await store.unblock({"s": 100}, epoch) == {"s": 8}
