"""Circuit breakers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from podling.core import breaker as rules
from podling.core.breaker import BreakerRecord
from podling.core.coordination import Breaker, BreakerState, Permit
from podling.core.coordination_rules import DEFAULT_COOL_DOWN_SECONDS
from podling.kit.clock import Clock


class BreakerTable:
    """The port `Breakers`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, BreakerRecord] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}

    async def find(self, key: str) -> Breaker:
        return self._record(key).seen_at(self._clock.monotonic())

    async def put(self, key: str, state: BreakerState, cool_down: float) -> Breaker:
        now, at = self._clock.monotonic(), self._clock.now()
        return self._keep(rules.put(self._record(key), state, cool_down, now, at))

    async def record_failure(self, key: str, max_failures: int, cool_down: float) -> Breaker:
        now, at = self._clock.monotonic(), self._clock.now()
        return self._keep(rules.failed(self._record(key), max_failures, cool_down, now, at))

    async def record_success(self, key: str) -> Breaker:
        return self._keep(rules.succeeded(self._record(key), self._clock.monotonic(), self._clock.now()))

    async def allow(self, key: str) -> Permit:
        record, now = self._record(key), self._clock.monotonic()
        wait = record.wait_at(now)
        if wait > 0:
            return Permit(allowed=False, breaker=record.seen_at(now), retry_after_seconds=wait)
        if record.breaker.state is BreakerState.OPEN:
            record = rules.probing(record, now)
            self._keep(record)
        return Permit(allowed=True, breaker=record.seen_at(now))

    async def all(self, prefix: str, limit: int, after: str | None = None) -> list[Breaker]:
        now = self._clock.monotonic()
        keys = sorted(
            key for key in self._records if key.startswith(prefix) and (after is None or key > after)
        )
        return [self._records[key].seen_at(now) for key in keys[:limit]]

    def prune(self) -> int:
        """Forget those that nobody uses any more; return how many."""
        now, at = self._clock.monotonic(), self._clock.now()
        gone = [key for key, record in self._records.items() if rules.is_forgotten(record, now, at)]
        for key in gone:
            del self._records[key]
        return len(gone)

    async def changes(self, key: str) -> AsyncIterator[Breaker]:
        told = None
        with self._watching(key) as changed:
            while True:
                changed.clear()
                seen = await self.find(key)
                if seen.state is not told:
                    told = seen.state
                    yield seen
                await self._changed(key, changed, told)

    async def _changed(self, key: str, changed: asyncio.Event, told: BreakerState) -> None:
        """Return when somebody has changed it, or when one that was open half opens."""
        cools = self._record(key).half_open_from - self._clock.monotonic()
        try:
            async with asyncio.timeout(cools if told is BreakerState.OPEN else None):
                await changed.wait()
        except TimeoutError:
            return

    @contextmanager
    def _watching(self, key: str) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._watchers.setdefault(key, set()).add(changed)
        try:
            yield changed
        finally:
            self._watchers[key].discard(changed)
            if not self._watchers[key]:
                del self._watchers[key]

    def _record(self, key: str) -> BreakerRecord:
        unused = BreakerRecord(breaker=Breaker(key=key), cool_down_seconds=DEFAULT_COOL_DOWN_SECONDS)
        return self._records.get(key, unused)

    def _keep(self, record: BreakerRecord) -> Breaker:
        key = record.breaker.key
        self._records[key] = record
        for changed in self._watchers.get(key, ()):
            changed.set()
        return record.seen_at(self._clock.monotonic())
