"""How many submits a minute this master may let into a queue that has a limit of them.

What all masters let in is counted in the store. A master takes a small share at once, so that not every
submit costs a statement; what it has not used by the end of the minute is lost, so that the limit may be
missed by that little and is never exceeded. Where the minute is used up, nobody asks again before its end.
"""

import asyncio
from dataclasses import dataclass

from podling.core.guardrails import share_of
from podling.kit.clock import Clock
from podling.store.base import Store


@dataclass(slots=True)
class _Share:
    """What is left of a share, until the end of its minute on the monotonic clock."""

    limit: int
    until: float
    left: int
    is_last: bool  # the minute has no more


class SubmitRates:
    """Costs nothing for queues without a limit: they are never asked about."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._shares: dict[str, _Share] = {}
        self._turn = asyncio.Lock()

    async def take(self, queue: str, limit: int) -> float | None:
        """Count one submit; return None, or in how many seconds to try again. Raises StoreUnavailable."""
        share = self._usable(queue, limit)
        if share is None:
            async with self._turn:  # who waited meanwhile may find what another one got
                share = self._usable(queue, limit) or await self._next(queue, limit)
        if share.left == 0:
            return share.until - self._clock.monotonic()
        share.left -= 1
        return None

    def give_back(self, queue: str) -> None:
        """Let another submit have what was counted and not needed."""
        self._shares[queue].left += 1

    def _usable(self, queue: str, limit: int) -> _Share | None:
        share = self._shares.get(queue)
        if share is None or share.limit != limit or self._clock.monotonic() >= share.until:
            return None
        return share if share.left > 0 or share.is_last else None

    async def _next(self, queue: str, limit: int) -> _Share:
        wanted, asked_at = share_of(limit), self._clock.monotonic()
        taken = await self._store.submit_counts.take(queue, wanted, limit)
        share = _Share(limit, asked_at + taken.seconds_left, taken.granted, taken.granted < wanted)
        self._shares[queue] = share
        return share
