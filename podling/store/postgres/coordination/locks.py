"""Locks. What waits for one stands in `podling.store.postgres.coordination.line`."""

from typing import Any

from podling.core.coordination import Lock
from podling.core.pattern import literal, to_like
from podling.store.postgres.coordination.line import Line, read_lock
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.coordination.signals import Signals
from podling.store.postgres.queries import load

_SQL = load("locks")


class LockTable:
    """The port `Locks`."""

    def __init__(self, runner: Runner, signals: Signals) -> None:
        self._fetch = runner.fetch
        self._line = Line(runner, signals)

    async def acquire(self, key: str, owner: str, ttl: float, wait_seconds: float = 0.0) -> Lock | None:
        if rows := await self._line.taken(_SQL.acquire, key, owner, ttl):
            return read_lock(rows[0])
        return await self._line.wait(key, owner, ttl, wait_seconds) if wait_seconds > 0 else None

    async def extend(
        self, key: str, ttl: float, *, owner: str | None = None, token: int | None = None
    ) -> Lock | None:
        return await self._one(_SQL.extend, key, ttl, owner, token)

    async def release(self, key: str, token: int) -> bool:
        return bool(await self._fetch(_SQL.release, key, token))

    async def force_release(self, key: str) -> bool:
        return bool(await self._fetch(_SQL.force_release, key))

    async def find(self, key: str) -> Lock | None:
        return await self._one(_SQL.find, key)

    async def holders(self, prefix: str, limit: int, after: str | None = None) -> list[Lock]:
        rows = await self._fetch(_SQL.holders, f"{to_like(literal(prefix))}%", after or "", limit)
        return [read_lock(row) for row in rows]

    async def close(self) -> None:
        """Settle what was given up, and wait for nothing more."""
        await self._line.close()

    async def _one(self, sql: str, *arguments: Any) -> Lock | None:
        rows = await self._fetch(sql, *arguments)
        return read_lock(rows[0]) if rows else None
