"""When which task has waited, or taken, longer than it may."""

from datetime import datetime, timedelta
from itertools import islice, takewhile

from podling.core.task import Task, TaskStatus
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

    def overdue(self, now: datetime, limit: int) -> list[Overdue]:
        passed = takewhile(lambda key: key[0] <= now, self._order)
        return [Overdue(task_id=task_id, kind=kind) for _, task_id, kind in islice(passed, limit)]

    def next_at(self) -> datetime | None:
        first = self._order.first()
        return first[0] if first else None


def _limits(task: Task) -> list[tuple[datetime, OverdueKind]]:
    """Return the times at which somebody has to act; a task told to stop needs no second order."""
    spec = task.spec
    limits = []
    if spec.queue_timeout_seconds is not None and task.status is TaskStatus.PENDING:
        at = _later(max(task.created_at, task.run_at), spec.queue_timeout_seconds)
        limits.append((at, OverdueKind.QUEUE_TIMEOUT))
    if spec.deadline_seconds is not None and task.stop_reason is None:
        limits.append((_later(task.created_at, spec.deadline_seconds), OverdueKind.DEADLINE))
    return [(at, kind) for at, kind in limits if at is not None]


def _later(start: datetime, seconds: float) -> datetime | None:
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None  # beyond the last year that a datetime knows: never
