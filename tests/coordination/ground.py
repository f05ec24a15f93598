"""What tests of coordination stand on: a store, and a way to let its time pass."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from podling.coordination import Coordination, in_memory, over_pool
from tests.builders import NOW
from tests.postgres_servers import PostgresServer

_TIMES = (
    ("podling_locks", "acquired_at"),
    ("podling_locks", "expires_at"),
    ("podling_lock_waiters", "alive_until"),
    ("podling_breakers", "half_open_from"),
    ("podling_breakers", "probe_until"),
    ("podling_breakers", "last_failure_at"),
    ("podling_breakers", "last_success_at"),
    ("podling_breakers", "opened_at"),
    ("podling_cache", "expires_at"),
    ("podling_idempotency", "expires_at"),
)


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class GoingClock(MovedClock):
    """One that goes as the database's does, and is moved as well."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=time.monotonic() - self._begun)

    def monotonic(self) -> float:
        return self.seconds + time.monotonic() - self._begun


@dataclass
class Ground:
    """`over` gives coordination with another prefix on the same store, `pass_time` ages all that is there."""

    coordination: Coordination
    over: Callable[[str], Coordination]
    pass_time: Callable[[float], Awaitable[None]]
    pool: "asyncpg.Pool[asyncpg.Record] | None" = None


def memory_ground(clock: MovedClock | None = None) -> Ground:
    clock = clock or MovedClock()
    coordination = in_memory(clock=clock)

    async def pass_time(seconds: float) -> None:
        clock.seconds += seconds

    return Ground(
        coordination=coordination,
        over=lambda prefix: Coordination(coordination.tables, prefix=prefix),
        pass_time=pass_time,
    )


@asynccontextmanager
async def postgres_ground(server: PostgresServer, size: int = 4) -> AsyncIterator[Ground]:
    """The pool is a program's own, with nothing set as Podling's own pools have it."""
    async with server.emptied_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=size)
        coordination = over_pool(pool, timeout_seconds=100)
        try:
            await coordination.connect()
            yield Ground(
                coordination=coordination,
                over=lambda prefix: Coordination(coordination.tables, prefix=prefix),
                pass_time=lambda seconds: age(pool, seconds),
                pool=pool,
            )
        finally:
            await coordination.disconnect()
            await pool.close()


async def age(pool: "asyncpg.Pool[asyncpg.Record]", seconds: float) -> None:
    """Make everything older by so much, as if the database's clock had gone on."""
    async with pool.acquire() as connection, connection.transaction():
        for table, column in _TIMES:
            sql = f"UPDATE {table} SET {column} = {column} - $1::float8 * interval '1 second'"
            await connection.execute(sql, seconds)
