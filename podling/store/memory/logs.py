"""The newest output of every attempt, within a budget of bytes for all of them."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from podling.core.logrecord import newest
from podling.store.base import LogTail


class TailTable:
    """When the budget is spent, the tails that were saved longest ago go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._tails: OrderedDict[tuple[str, int], LogTail] = OrderedDict()

    def save(self, tails: Iterable[LogTail]) -> None:
        for tail in tails:
            self.drop(tail.task_id, tail.attempt)
            frames, dropped = newest(tail.frames)
            kept = replace(tail, frames=frames, dropped_bytes=tail.dropped_bytes + dropped)
            self._tails[tail.task_id, tail.attempt] = kept
            self._bytes += len(frames)
        while self._bytes > self._most_bytes:
            self.drop(*next(iter(self._tails)))

    def load(self, task_id: str, attempt: int) -> LogTail | None:
        return self._tails.get((task_id, attempt))

    def drop(self, task_id: str, attempt: int) -> None:
        tail = self._tails.pop((task_id, attempt), None)
        if tail is not None:
            self._bytes -= len(tail.frames)
