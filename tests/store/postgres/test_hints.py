"""NOTIFY after a commit, LISTEN that comes back."""

import asyncio

import asyncpg

from podling.store.postgres.hints import CHANNEL
from podling.store.postgres.store import PostgresStore
from tests.builders import build_batch, build_task, insertion

END_LISTENERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"


async def test_a_commit_wakes_a_listener(store: PostgresStore, dsn: str) -> None:
    other = PostgresStore(dsn)
    hinted = asyncio.Event()
    listening = asyncio.create_task(other.listen(hinted.set))
    try:
        await asyncio.wait_for(hinted.wait(), 10)
        hinted.clear()
        await store.commit(build_batch([insertion(build_task())]))
        await asyncio.wait_for(hinted.wait(), 10)
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def test_a_listener_whose_session_was_ended_listens_again_before_it_tells(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    hints: asyncio.Queue[None] = asyncio.Queue()
    listening = asyncio.create_task(store.listen(lambda: hints.put_nowait(None)))
    try:
        await asyncio.wait_for(hints.get(), 10)
        assert await connection.fetch(END_LISTENERS)
        await asyncio.wait_for(hints.get(), 10)
        await connection.execute(f"NOTIFY {CHANNEL}")
        await asyncio.wait_for(hints.get(), 10)
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def test_many_commits_make_few_hints(store: PostgresStore, connection: asyncpg.Connection) -> None:
    heard = []
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()

    def hear(*_: object) -> None:
        heard.append(loop.time())
        enough.set()

    await connection.add_listener(CHANNEL, hear)
    start = loop.time()
    for _ in range(30):
        await store.commit(build_batch([insertion(build_task())]))
    await asyncio.wait_for(enough.wait(), 10)
    elapsed = loop.time() - start
    assert 1 <= len(heard) <= 2 + elapsed * 20
