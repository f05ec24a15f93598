"""Counts of submits, a minute and a number for each queue."""

from podling.kit.clock import Clock
from podling.store.ports.submit_counts import SubmitCounts, Taken


class SubmitCountTable(SubmitCounts):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: dict[str, tuple[int, int]] = {}

    async def take(self, queue: str, wanted: int, limit: int) -> Taken:
        minute, second = divmod(self._clock.now().timestamp(), 60)
        known, taken = self._taken.get(queue, (0, 0))
        before = taken if known == minute else 0
        granted = max(0, min(wanted, limit - before))
        self._taken[queue] = (int(minute), before + granted)
        return Taken(granted=granted, seconds_left=60 - second)
