"""Circuit breakers: each change is one statement, under the lock of the breaker's row."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg

from podling.core.coordination import Breaker, BreakerState, Permit
from podling.core.pattern import literal, to_like
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.coordination.signals import Signals
from podling.store.postgres.queries import load

LOOK_SECONDS = 5.0
"""How often a breaker is looked at that is watched, if no signal comes."""

_LEAST_PAUSE_SECONDS = 0.05
_SQL = load("breakers")


class BreakerTable:
    """The port `Breakers`."""

    def __init__(self, runner: Runner, signals: Signals) -> None:
        self._fetch = runner.fetch
        self._signals = signals

    async def find(self, key: str) -> Breaker:
        rows = await self._fetch(_SQL.find, key)
        return _breaker(rows[0]) if rows else Breaker(key=key)

    async def put(self, key: str, state: BreakerState, cool_down: float) -> Breaker:
        return _breaker((await self._fetch(_SQL.put, key, state.value, cool_down))[0])

    async def record_failure(self, key: str, max_failures: int, cool_down: float) -> Breaker:
        return _breaker((await self._fetch(_SQL.record_failure, key, max_failures, cool_down))[0])

    async def record_success(self, key: str) -> Breaker:
        return _breaker((await self._fetch(_SQL.record_success, key))[0])

    async def allow(self, key: str) -> Permit:
        rows = await self._fetch(_SQL.find, key)
        if not rows or rows[0]["state"] == BreakerState.CLOSED:
            return Permit(allowed=True, breaker=_breaker(rows[0]) if rows else Breaker(key=key))
        if rows[0]["wait_seconds"] > 0:
            return _refused(rows[0])
        probing = await self._fetch(_SQL.probe, key)
        if probing:
            return Permit(allowed=True, breaker=_breaker(probing[0]))
        return await self._outrun(key)

    async def all(self, prefix: str, limit: int, after: str | None = None) -> list[Breaker]:
        rows = await self._fetch(_SQL.all, f"{to_like(literal(prefix))}%", after or "", limit)
        return [_breaker(row) for row in rows]

    async def changes(self, key: str) -> AsyncIterator[Breaker]:
        await self._signals.hear()
        told: BreakerState | None = None
        with self._signals.on(f"breaker {key}") as changed:
            while True:
                changed.clear()
                rows = await self._fetch(_SQL.find, key)
                seen = _breaker(rows[0]) if rows else Breaker(key=key)
                if seen.state is not told:
                    told = seen.state
                    yield seen
                cools = rows[0]["cools_seconds"] if seen.state is BreakerState.OPEN else LOOK_SECONDS
                await _changed(changed, max(min(cools, LOOK_SECONDS), _LEAST_PAUSE_SECONDS))

    async def _outrun(self, key: str) -> Permit:
        """Somebody else was faster: they try, or have told already what came of it."""
        row = (await self._fetch(_SQL.find, key))[0]
        if row["state"] == BreakerState.CLOSED:
            return Permit(allowed=True, breaker=_breaker(row))
        return _refused(row)


def _refused(row: asyncpg.Record) -> Permit:
    return Permit(allowed=False, breaker=_breaker(row), retry_after_seconds=max(row["wait_seconds"], 0.0))


def _breaker(row: asyncpg.Record) -> Breaker:
    return Breaker(
        key=row["key"],
        state=BreakerState(row["state"]),
        failure_count=row["failure_count"],
        last_failure_at=row["last_failure_at"],
        last_success_at=row["last_success_at"],
        opened_at=row["opened_at"],
    )


async def _changed(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
