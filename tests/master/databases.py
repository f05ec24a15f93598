"""Databases that are used again, because making one costs a test a second."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from threading import Thread

import asyncpg

from tests.conftest import ServerOf

_EMPTY_ALL = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN
        SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
          AND relname NOT IN ('podling_migrations', 'cluster', 'leadership')
    LOOP
        EXECUTE format('DELETE FROM %s', found.name);
    END LOOP;
    UPDATE leadership SET epoch = 0, holder = NULL, counter = 0;
END $$
"""


class Databases:
    """Lends empty databases with Podling's tables; each to one test at a time.

    They are made and dropped on a loop of their own, which outlives the loops of single tests.
    """

    def __init__(self, server_of: ServerOf) -> None:
        self._server_of = server_of
        self._free: dict[str, list[str]] = defaultdict(list)
        self._all = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @asynccontextmanager
    async def lend(self, server: str) -> AsyncIterator[str]:
        """Give the DSN of a database on the server of this name."""
        if self._free[server]:
            dsn = self._free[server].pop()
            await _empty(dsn)
        else:
            making = self._all.enter_async_context(self._server_of(server).database())
            dsn = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(making, self._loop))
        yield dsn
        self._free[server].append(dsn)

    def drop_all(self) -> None:
        asyncio.run_coroutine_threadsafe(self._all.aclose(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


async def _empty(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=30)
    try:
        await connection.execute(_EMPTY_ALL, timeout=30)
    finally:
        await connection.close(timeout=30)
