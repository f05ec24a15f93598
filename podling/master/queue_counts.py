"""What became of tasks, by queue: whichever master committed it, every one of them counts it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from podling.core.task import Task, TaskStatus
from podling.master.committer import Applied
from podling.store.base import Change

MOST_QUEUES = 1000  # counted apart at one time
MOST_LABELS = 100  # of Prometheus, for as long as this master runs
REST = "(other)"
"""Under this name the others are counted together; no queue can be called so."""


@dataclass(slots=True)
class QueueCount:
    """Tasks that ended, attempts after which the task waits again, and how long so many (`timed`) ran."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    returned: int = 0
    timed: int = 0
    seconds: float = 0.0

    @property
    def attempts(self) -> int:
        """Return how many attempts' ends these are."""
        return self.succeeded + self.failed + self.returned

    def less(self, then: "QueueCount | None") -> "QueueCount":
        """Return what was counted since `then`."""
        before = then or QueueCount()
        return QueueCount(**{name: getattr(self, name) - getattr(before, name) for name in _FIELDS})


_FIELDS = tuple(field.name for field in fields(QueueCount))


def total(counts: Iterable[QueueCount]) -> QueueCount:
    """Return their sum."""
    found = list(counts)
    return QueueCount(**{name: sum(getattr(count, name) for count in found) for name in _FIELDS})


class QueueCounts:
    """Fed by what this master commits and by what the feed tells of the others, each once."""

    def __init__(self) -> None:
        self._counts: dict[str, QueueCount] = {}
        self._labels: dict[str, None] = {}

    def committed(self, applied: Iterable[Applied]) -> None:
        """Take in what this master wrote."""
        for change in applied:
            before, after = change.before, change.after
            self._move(None if before is None else before.status, after.status, after)

    def told(self, changes: Sequence[Change], tasks: Mapping[str, Task]) -> None:
        """Take in what another master wrote about these tasks."""
        for change in changes:
            if (task := tasks.get(change.task_id)) is not None:
                self._move(change.before, change.status, task)

    def _move(self, before: TaskStatus | None, after: TaskStatus, task: Task) -> None:
        """Count the move if it is an end; states are compared, never hashed."""
        if before is after or after is TaskStatus.SCHEDULED or after is TaskStatus.RUNNING:
            return
        if after is TaskStatus.PENDING:
            if before is not None:
                self._of(task.spec.queue).returned += 1
        elif after is TaskStatus.CANCELLED:
            self._of(task.spec.queue).cancelled += 1
        else:
            self._ended(self._of(task.spec.queue), after, task)

    def _ended(self, count: QueueCount, after: TaskStatus, task: Task) -> None:
        if after is TaskStatus.COMPLETED:
            count.succeeded += 1
        else:
            count.failed += 1
        if task.started_at is not None and task.finished_at is not None:
            count.timed += 1
            count.seconds += (task.finished_at - task.started_at).total_seconds()

    def _of(self, queue: str) -> QueueCount:
        found = self._counts.get(queue)
        if found is None:
            name = queue if len(self._counts) < MOST_QUEUES else REST
            found = self._counts.setdefault(name, QueueCount())
        return found

    def snapshot(self) -> dict[str, QueueCount]:
        """Return the numbers as they are now."""
        return {queue: replace(count) for queue, count in self._counts.items()}

    def forget(self, queue: str) -> None:
        """Count the queue from nothing if there is ever anything of it again, and another one instead."""
        self._counts.pop(queue, None)

    def labelled(self, numbers: Mapping[str, float], always: Iterable[str]) -> dict[tuple[str, ...], float]:
        """Return the numbers by label: clients choose the names of queues, so that there must be a bound.

        Those that an operator has spoken of (`always`) have their label, others as long as there are any.
        """
        named, found = frozenset(always), dict[tuple[str, ...], float]()
        for queue in sorted(numbers):
            label = (queue if queue in named or self._has_label(queue) else REST,)
            found[label] = found.get(label, 0.0) + numbers[queue]
        return found

    def _has_label(self, queue: str) -> bool:
        if len(self._labels) < MOST_LABELS:
            self._labels[queue] = None
        return queue in self._labels
