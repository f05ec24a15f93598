"""The store behind pgbouncer, which gives every transaction another session."""

import asyncio
from pathlib import Path

from podling.store.postgres.store import PostgresStore
from tests.builders import assignment, build_batch, build_task, insertion
from tests.conftest import ServerOf
from tests.poolers import pooler

PATIENCE_SECONDS = 10


async def test_it_works_through_a_transaction_pooler(server_of: ServerOf, open_folder: Path) -> None:
    server = server_of("debian")
    async with server.empty_database() as direct:
        with pooler(direct, open_folder) as pooled:
            await _use(pooled, direct)


async def _use(pooled: str, direct: str) -> None:
    store = PostgresStore(pooled, direct_dsn=direct, synchronous_commit="remote_apply")
    await store.open()
    hinted = asyncio.Event()
    listening = asyncio.create_task(store.listen(hinted.set))
    try:
        await asyncio.wait_for(hinted.wait(), PATIENCE_SECONDS)
        hinted.clear()
        await asyncio.gather(*(_live(store, number) for number in range(8)))
        assert len((await store.snapshot()).live_tasks) == 40
        await asyncio.wait_for(hinted.wait(), PATIENCE_SECONDS)
        async with store._pool.transaction() as connection:
            assert await connection.fetchval("SHOW plan_cache_mode") == "force_custom_plan"
            assert await connection.fetchval("SHOW synchronous_commit") == "remote_apply"
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await store.close()


async def _live(store: PostgresStore, number: int) -> None:
    """Commit and read as one of several masters at once."""
    tasks = [build_task() for _ in range(5)]
    for task in tasks:
        await store.commit(build_batch([insertion(task)], master_id=f"master-{number}"))
        await store.commit(build_batch([assignment(task)], master_id=f"master-{number}"))
        assert (await store.load_tasks([task.task_id]))[task.task_id].version == 2
        await store.promote(task.run_at, 10)
