"""NOTIFY after a commit, LISTEN that comes back."""

import asyncio

import asyncpg

from podling.store.postgres.hints import CALL, CHANNEL, Notifier
from podling.store.postgres.pool import Address
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


async def test_what_was_asked_for_last_is_still_said(dsn: str, connection: asyncpg.Connection) -> None:
    """A leader resigns, and closes its store at once."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener(CHANNEL, lambda *told: heard.put_nowait(told[-1]))
    notifier = Notifier(Address(dsn, 10.0))
    for _ in range(2):
        notifier.start()
        notifier.call()
        await notifier.stop()
        assert await asyncio.wait_for(heard.get(), 10) == CALL
    notifier.start()
    await asyncio.wait_for(notifier.stop(), 10)


async def test_hints_that_wait_together_are_sent_as_one(dsn: str, connection: asyncpg.Connection) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener(CHANNEL, lambda *told: heard.put_nowait(told[-1]))
    notifier = Notifier(Address(dsn, 10.0))
    notifier.start()
    for _ in range(30):
        notifier.hint()
    assert await asyncio.wait_for(heard.get(), 10) == ""
    await notifier.stop()
    await connection.execute(f"NOTIFY {CHANNEL}, 'what follows them'")
    assert await asyncio.wait_for(heard.get(), 10) == "what follows them"
