"""Where coordination's statements run: on a store's own pool, or on one that a program has lent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from podling.core.errors import ConfigurationError
from podling.store.postgres.errors import REPEATABLE, translated
from podling.store.postgres.hosts import connect
from podling.store.postgres.pool import Address, Connection, Pool, keep_alive

_KEPT_SECONDS = 0.02


class Runner(Protocol):
    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one statement, in a transaction of its own. Raises StoreUnavailable, InvalidInput."""

    def listening(self) -> AbstractAsyncContextManager[Connection]:
        """Give a connection for LISTEN. Raises the driver's own errors."""

    async def close(self) -> None:
        """Give back what was lent."""


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

    async def close(self) -> None:
        """Nothing is lent: the store closes its pool itself."""


class LentPool:
    """On a pool that stays its owner's, who closes it; while somebody waits, one connection listens.

    With `listen_dsn` that is a connection of its own: for a pool whose connections lead through a
    transaction pooler, or of which none can be spared. Statements that follow one another closely share
    a connection: giving it back each time would cost a round trip that clears its session.
    """

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", timeout_seconds: float, listen_dsn: str | None = None
    ) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds
        self._listen_dsn = listen_dsn
        self._kept: list[PoolConnectionProxy[asyncpg.Record]] = []
        self._was_used = False
        self._sweeping: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        with translated():
            async with asyncio.timeout(self._timeout_seconds):
                while True:
                    # The owner's sessions may isolate transactions more strictly than is needed here.
                    with suppress(*REPEATABLE):
                        return await self._fetch(sql, *arguments)

    async def _fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await self._taken()
        try:
            rows = await connection.fetch(sql, *arguments)
        except asyncpg.UndefinedTableError:
            await self._pool.release(connection)
            raise ConfigurationError(
                "the tables of podling.coordination are not there: connect() makes them"
            ) from None
        except BaseException:
            await self._pool.release(connection)
            raise
        if not self._keep(connection):
            await self._pool.release(connection)
        return rows

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._give_back()
        if self._returning:
            await asyncio.wait(self._returning, timeout=self._timeout_seconds)

    async def _taken(self) -> "PoolConnectionProxy[asyncpg.Record]":
        while self._kept:
            connection = self._kept.pop()
            if not connection.is_closed():
                return connection
            await self._pool.release(connection)
        return await self._pool.acquire()

    def _keep(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> bool:
        """Keep it for the statement that may follow; half of the pool at most, and for a moment."""
        if len(self._kept) >= self._pool.get_max_size() // 2:
            return False
        self._kept.append(connection)
        self._was_used = True
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._sweep)
        return True

    def _sweep(self) -> None:
        self._sweeping = None
        if self._was_used:
            self._was_used = False
            self._sweeping = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._sweep)
        else:
            self._give_back()

    def _give_back(self) -> None:
        kept, self._kept = self._kept, []
        for connection in kept:
            task = asyncio.create_task(self._pool.release(connection))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

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
