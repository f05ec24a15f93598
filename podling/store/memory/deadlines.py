"""When which task has waited, or taken, longer than it may."""

from datetime import datetime
from itertools import islice, takewhile

from podling.core.limits import deadline_at, queue_timeout_at
from podling.core.task import Task
from podling.store.base import Overdue, OverdueKind
from podling.store.memory.sorted_keys import SortedKeys

_Key = tuple[datetime, str, OverdueKind]


class DeadlineTable:
    """Each task is here once, by whichever of its two limits comes first."""

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}
        self._order: SortedKeys[_Key] = SortedKeys()

    def put(self, task: Task) -> None:
        """Insert or replace a task that has not ended."""
        self.discard(task.task_id)
        limits = _limits(task)
        if limits:
            at, kind = min(limits)
            self._keys[task.task_id] = (at, task.task_id, kind)
            self._order.add(self._keys[task.task_id])

    def discard(self, task_id: str) -> None:
        key = self._keys.pop(task_id, None)
        if key is not None:
            self._order.remove(key)

    def overdue(self, now: datetime, limit: int, after: tuple[datetime, str] | None) -> list[Overdue]:
        unseen = (key for key in self._order.ascending(after) if key[:2] != after)
        passed = takewhile(lambda key: key[0] <= now, unseen)
        return [Overdue(at=at, task_id=task_id, kind=kind) for at, task_id, kind in islice(passed, limit)]

    def next_at(self) -> datetime | None:
        first = self._order.first()
        return first[0] if first else None


def _limits(task: Task) -> list[tuple[datetime, OverdueKind]]:
    limits = [
        (queue_timeout_at(task), OverdueKind.QUEUE_TIMEOUT),
        (deadline_at(task), OverdueKind.DEADLINE),
    ]
    return [(at, kind) for at, kind in limits if at is not None]
