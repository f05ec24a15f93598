"""Where coordination's statements run: on a store's own pool, or on one that a program has lent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import asyncpg

from podling.store.postgres.errors import translated
from podling.store.postgres.hosts import connect
from podling.store.postgres.pool import Address, Connection, Pool, keep_alive


class Runner(Protocol):
    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one statement, in a transaction of its own. Raises StoreUnavailable, InvalidInput."""

    def listening(self) -> AbstractAsyncContextManager[Connection]:
        """Give a connection for LISTEN. Raises the driver's own errors."""


class StoreRunner:
    """On the pool of a store; it listens on a connection of its own."""

    def __init__(self, pool: Pool, direct: Address) -> None:
        self._pool = pool
        self._direct = direct
        self.fetch = pool.fetch

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Connection]:
        connection = await connect(**self._direct.options())
        try:
            keep_alive(connection)
            yield connection
        finally:
            connection.terminate()


class LentPool:
    """On a pool that stays its owner's, who closes it; while somebody waits, one connection listens.

    With `listen_dsn` that is a connection of its own: for a pool whose connections lead through a
    transaction pooler, or of which none can be spared.
    """

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", timeout_seconds: float, listen_dsn: str | None = None
    ) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds
        self._listen_dsn = listen_dsn

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        with translated():
            async with asyncio.timeout(self._timeout_seconds):
                return await self._pool.fetch(sql, *arguments)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Connection]:
        if self._listen_dsn is not None:
            own = await asyncpg.connect(self._listen_dsn, timeout=self._timeout_seconds)
            try:
                keep_alive(own)
                yield own
            finally:
                own.terminate()
            return
        if self._pool.get_max_size() < 2:
            raise asyncpg.InterfaceError("the pool has no connection to spare: give it two, or a listen_dsn")
        async with self._pool.acquire(timeout=self._timeout_seconds) as lent:
            yield lent
