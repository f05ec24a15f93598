"""When which task has waited, or taken, longer than it may."""

from datetime import datetime, timedelta
from itertools import islice, takewhile

from podling.core.task import Task, TaskStatus
from podling.store.base import Overdue, OverdueKind
from podling.store.memory.sorted_keys import SortedKeys

_Key = tuple[datetime, OverdueKind, str]


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
            self._keys[task.task_id] = (at, kind, task.task_id)
            self._order.add(self._keys[task.task_id])

    def discard(self, task_id: str) -> None:
        key = self._keys.pop(task_id, None)
        if key is not None:
            self._order.remove(key)

    def overdue(self, now: datetime, limit: int) -> list[Overdue]:
        passed = takewhile(lambda key: key[0] <= now, self._order)
        return [Overdue(task_id=task_id, kind=kind) for _, kind, task_id in islice(passed, limit)]

    def next_at(self) -> datetime | None:
        first = self._order.first()
        return first[0] if first else None


def _limits(task: Task) -> list[tuple[datetime, OverdueKind]]:
    """Return the times at which somebody has to act; a task told to stop needs no second order."""
    spec = task.spec
    limits = []
    if spec.queue_timeout_seconds is not None and task.status is TaskStatus.PENDING:
        since = max(task.created_at, task.run_at)
        limits.append((since + timedelta(seconds=spec.queue_timeout_seconds), OverdueKind.QUEUE_TIMEOUT))
    if spec.deadline_seconds is not None and task.stop_reason is None:
        limits.append((task.created_at + timedelta(seconds=spec.deadline_seconds), OverdueKind.DEADLINE))
    return limits
