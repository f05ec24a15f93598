"""A pool that is lent out still has a connection for beats and for the leader's renewal."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from podling.core.errors import StoreUnavailable
from podling.store.postgres.store import PostgresStore
from tests.builders import build_node

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIZE = 3


async def test_beats_and_renewals_do_not_wait_for_what_holds_the_pool(dsn: str) -> None:
    store = PostgresStore(dsn, pool_size=SIZE, command_timeout_seconds=2.0)
    await store.open()
    try:
        session_no = await store.open_session(build_node())
        epoch = await store.take_leadership("master-1", await store.leadership())
        assert epoch is not None
        async with AsyncExitStack() as held:
            for _ in range(SIZE - 1):
                await held.enter_async_context(store._pool.connection())
            assert await store.beat({build_node().node_id: session_no}, NOW) == {build_node().node_id}
            assert await store.renew_leadership("master-1", epoch)
            with pytest.raises(StoreUnavailable):
                await store.load_nodes()
        assert await store.load_nodes()
    finally:
        await store.close()
