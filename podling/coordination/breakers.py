"""Circuit breakers: who keeps failing is left alone for a while, then tried by one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from podling.core.coordination import Breaker, BreakerState, Permit
from podling.core.coordination_rules import (
    DEFAULT_COOL_DOWN_SECONDS,
    DEFAULT_MAX_FAILURES,
    MOST_COUNT,
    check_key,
    check_ttl,
    check_whole,
)
from podling.core.errors import BreakerIsOpen
from podling.core.fields import one_of
from podling.kit.asynchronous_guard import AsyncBreakerGuard, breaker_is_open
from podling.kit.waits import Waits
from podling.store.ports.coordination import Breakers as Table

MOST_LISTED = 500


class Guard(AsyncBreakerGuard[Permit]):
    """Guards by a breaker of this store."""

    def __init__(
        self,
        breakers: "Breakers",
        key: str,
        max_failures: int,
        cool_down: float,
        counts: tuple[type[BaseException], ...],
    ) -> None:
        super().__init__(key, counts)
        self._breakers = breakers
        self._max_failures = max_failures
        self._cool_down = cool_down

    async def allow(self) -> Permit:
        return await self._breakers.allow(self.key)

    async def record_success(self) -> Breaker:
        return await self._breakers.record_success(self.key)

    async def record_failure(self) -> Breaker:
        return await self._breakers.record_failure(self.key, self._max_failures, self._cool_down)

    def _refusal(self, permit: Permit) -> BreakerIsOpen | None:
        breaker, wait = permit.breaker, permit.retry_after_seconds
        if permit.allowed:
            return None
        return breaker_is_open(self.key, breaker.state.value, breaker.failure_count, wait)


class Breakers:
    """Breakers by their keys; the one of a key that nobody has used is closed."""

    def __init__(self, table: Table, prefix: str, waits: Waits) -> None:
        self._table = table
        self._prefix = prefix
        self._waits = waits

    def guard(
        self,
        key: str,
        max_failures: int = DEFAULT_MAX_FAILURES,
        cool_down: float = DEFAULT_COOL_DOWN_SECONDS,
        counts: tuple[type[BaseException], ...] = (Exception,),
    ) -> Guard:
        """Return a context manager that is a decorator too. It raises BreakerIsOpen without running a thing.

        The errors in `counts` are failures; others, such as a cancelled task, say nothing.
        """
        check_key(key)
        _check(max_failures, cool_down)
        return Guard(self, key, max_failures, cool_down, counts)

    async def get_state(self, key: str) -> Breaker:
        return self._told(await self._table.find(self._whole(key)))

    async def set_state(
        self, key: str, state: BreakerState | str, cool_down: float = DEFAULT_COOL_DOWN_SECONDS
    ) -> Breaker:
        """Set the state by hand: one that is closed begins to count anew, an open one cools down."""
        wanted, seconds = one_of(BreakerState, "state", state), check_ttl(cool_down, "coolDownSeconds")
        return self._told(await self._table.put(self._whole(key), wanted, seconds))

    async def record_failure(
        self,
        key: str,
        max_failures: int = DEFAULT_MAX_FAILURES,
        cool_down: float = DEFAULT_COOL_DOWN_SECONDS,
    ) -> Breaker:
        """Count a failure; the breaker opens at the `max_failures`th since the last success.

        It stays open until it has cooled down, and is half open then.
        """
        most, seconds = _check(max_failures, cool_down)
        return self._told(await self._table.record_failure(self._whole(key), most, seconds))

    async def record_success(self, key: str) -> Breaker:
        """Begin to count anew; a breaker that is half open closes. In an open one it changes nothing."""
        return self._told(await self._table.record_success(self._whole(key)))

    async def allow(self, key: str) -> Permit:
        """Say whether the caller may go ahead: yes if it is closed, no if it is open.

        If it is half open, one may; who says nothing of it for a whole cool-down is forgotten.
        """
        permit = await self._table.allow(self._whole(key))
        return replace(permit, breaker=self._told(permit.breaker))

    async def list(self, limit: int = MOST_LISTED, after: str | None = None) -> Sequence[Breaker]:
        """Return the breakers that were used, in the order of their keys; `after` is the last one seen."""
        start = None if after is None else self._prefix + after
        return [self._told(breaker) for breaker in await self._table.all(self._prefix, limit, start)]

    async def changes(self, key: str) -> AsyncIterator[Breaker]:
        """Yield the breaker as it is, and again whenever its state has changed, for ever.

        What has changed back before it was seen is not told.
        """
        changes = self._table.changes(self._whole(key))
        while True:
            with self._waits.waiting():
                breaker = await anext(changes)
            yield self._told(breaker)

    def _whole(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _told(self, breaker: Breaker) -> Breaker:
        return replace(breaker, key=breaker.key.removeprefix(self._prefix)) if self._prefix else breaker


def _check(max_failures: object, cool_down: object) -> tuple[int, float]:
    return (
        check_whole(max_failures, "maxFailures", 1, MOST_COUNT),
        check_ttl(cool_down, "coolDownSeconds"),
    )
