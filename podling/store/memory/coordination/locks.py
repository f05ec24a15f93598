"""Locks, and the lines of those that wait for one."""

import asyncio
from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta

from podling.core.coordination import Lock
from podling.core.value import value
from podling.kit.clock import Clock


@value
class _Held:
    lock: Lock
    ends: float


class LockTable:
    """The port `Locks`. Who is woken is the first in line; a lock's end wakes them too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._token = 0
        self._held: dict[str, _Held] = {}
        self._lines: dict[str, OrderedDict[int, asyncio.Event]] = {}
        self._ticket = 0

    async def acquire(self, key: str, owner: str, ttl: float, wait_seconds: float = 0.0) -> Lock | None:
        held = self._live(key)
        if (held is not None and held.lock.owner == owner) or (held is None and not self._lines.get(key)):
            return self._give(key, owner, ttl)
        return await self._wait(key, owner, ttl, wait_seconds) if wait_seconds > 0 else None

    async def extend(
        self, key: str, ttl: float, *, owner: str | None = None, token: int | None = None
    ) -> Lock | None:
        held = self._live(key)
        if held is None or owner not in (None, held.lock.owner) or token not in (None, held.lock.token):
            return None
        lock = replace(held.lock, expires_at=self._clock.now() + timedelta(seconds=ttl))
        self._held[key] = _Held(lock=lock, ends=self._clock.monotonic() + ttl)
        self._wake_first(key)
        return lock

    async def release(self, key: str, token: int) -> bool:
        held = self._live(key)
        return held is not None and held.lock.token == token and self._free(key)

    async def force_release(self, key: str) -> bool:
        return self._live(key) is not None and self._free(key)

    async def find(self, key: str) -> Lock | None:
        held = self._live(key)
        return None if held is None else held.lock

    async def holders(self, prefix: str, limit: int, after: str | None = None) -> list[Lock]:
        keys = sorted(key for key in self._held if key.startswith(prefix) and (after is None or key > after))
        return [held.lock for key in keys if (held := self._live(key)) is not None][:limit]

    def prune(self) -> int:
        """Forget locks that have run out; return how many."""
        gone = [key for key in self._held if self._live(key) is None]
        for key in gone:
            del self._held[key]
        return len(gone)

    def _live(self, key: str) -> _Held | None:
        held = self._held.get(key)
        return held if held is not None and self._clock.monotonic() < held.ends else None

    def _give(self, key: str, owner: str, ttl: float) -> Lock:
        self._token += 1
        now = self._clock.now()
        lock = Lock(
            key=key,
            owner=owner,
            token=self._token,
            acquired_at=now,
            expires_at=now + timedelta(seconds=ttl),
        )
        self._held[key] = _Held(lock=lock, ends=self._clock.monotonic() + ttl)
        return lock

    def _free(self, key: str) -> bool:
        del self._held[key]
        self._wake_first(key)
        return True

    async def _wait(self, key: str, owner: str, ttl: float, wait_seconds: float) -> Lock | None:
        self._ticket += 1
        ticket, woken = self._ticket, asyncio.Event()
        line = self._lines.setdefault(key, OrderedDict())
        line[ticket] = woken
        try:
            async with asyncio.timeout(wait_seconds):
                while not self._may_have(key, owner, ticket):
                    await self._woken(key, woken)
            return self._give(key, owner, ttl)
        except TimeoutError:
            return None
        finally:
            self._leave(key, ticket)

    def _may_have(self, key: str, owner: str, ticket: int) -> bool:
        held = self._live(key)
        if held is not None:
            return held.lock.owner == owner
        return next(iter(self._lines[key])) == ticket

    async def _woken(self, key: str, woken: asyncio.Event) -> None:
        """Return when the waiter was called, or when the lock has run out."""
        held = self._live(key)
        left = None if held is None else held.ends - self._clock.monotonic()
        try:
            async with asyncio.timeout(left):
                await woken.wait()
        except TimeoutError:
            return
        woken.clear()

    def _leave(self, key: str, ticket: int) -> None:
        line = self._lines[key]
        del line[ticket]
        if line:
            self._wake_first(key)
        else:
            del self._lines[key]

    def _wake_first(self, key: str) -> None:
        for woken in self._lines.get(key, {}).values():
            woken.set()
            return
