"""Every test of a master runs on both stores, each time on an empty one of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from podling.store.memory.store import MemoryStore
from podling.store.postgres.store import PostgresStore
from tests.conftest import ServerOf
from tests.master.databases import Databases
from tests.master.masters import Masters, RunningMaster
from tests.master.world import World
from tests.postgres_servers import chosen_servers

STORES = ["memory", *chosen_servers()[:1]]  # what differs between servers is the store's to test


@pytest.fixture(scope="session")
def databases(server_of: ServerOf) -> Iterator[Databases]:
    found = Databases(server_of)
    yield found
    found.drop_all()


@asynccontextmanager
async def _masters(kind: str, databases: Databases) -> AsyncIterator[Masters]:
    if kind == "memory":
        store = MemoryStore()
        masters = Masters(kind, lambda: store)
        try:
            yield masters
        finally:
            await masters.stop()
        return
    async with databases.lend(kind) as dsn:
        masters = Masters(kind, lambda: PostgresStore(dsn, pool_size=5))
        try:
            yield masters
        finally:
            await masters.stop()


@pytest.fixture(params=STORES)
async def masters(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Masters]:
    async with _masters(request.param, databases) as found:
        yield found


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    """A master that leads."""
    return await masters.start()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=STORES)
async def shared_master(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[RunningMaster]:
    """A master that all tests of a module share: for what leaves nothing behind."""
    async with _masters(request.param, databases) as found:
        yield await found.start()


@pytest.fixture
async def world(masters: Masters) -> AsyncIterator[World]:
    store = masters.make_store()
    await store.open()
    try:
        yield World(store)
    finally:
        await store.close()
