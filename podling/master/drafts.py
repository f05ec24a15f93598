"""What comes to the committer, and the writes that a batch of it becomes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from podling.core.alerts import Alert
from podling.core.errors import NotFound, PodlingError
from podling.core.lifecycle import Assign, Event, Transition, apply
from podling.core.statement_end import settled
from podling.core.task import Task
from podling.core.value import changed
from podling.kit.clock import Clock
from podling.master.inserts import Insert
from podling.store.base import TaskWrite

Notify = Callable[[Task, Transition, datetime], tuple[Alert, ...]]


@dataclass(frozen=True, slots=True)
class Happening:
    """An event for a task; `known` spares a look-up and may be out of date.

    `from_worker`: the attempt's own worker tells it, so it needs no order that follows from it.
    """

    task_id: str
    event: Event
    known: Task | None = None
    from_worker: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """A committed write: what the task was (None: it is new) and what it is now.

    `blocked`: it is new and waits out of the ready order. `overtaken`: what the task is by now was told
    before, so that this is for those who count alone.
    """

    before: Task | None
    after: Task
    from_worker: bool = False
    blocked: bool = False
    overtaken: bool = False


@dataclass(slots=True)
class Draft:
    """One task's write, grown from every item of the batch that speaks of it."""

    before: Task | None
    write: TaskWrite
    indexes: list[int]
    from_worker: bool = False
    new: Task | None = None  # what it was before it got its node in the same write

    def applied(self) -> Iterator[Applied]:
        """Yield what is told once it is committed."""
        if self.new is not None:
            yield Applied(None, self.new)
        before = self.new or self.before
        yield Applied(before, self.write.task, self.from_worker, self.write.blocked)


class DraftPlan:
    """Folds a batch's items into one write per task; start and end in one batch are one write."""

    def __init__(
        self, tasks: Mapping[str, Task], clock: Clock, draw: Callable[[], float], notify: Notify
    ) -> None:
        self._tasks = tasks
        self._now = clock.now()
        self._draw = draw
        self._notify = notify
        self.drafts: dict[str, Draft] = {}
        self.refused: dict[int, Exception] = {}
        self.unchanged: dict[int, Task] = {}

    def insert(self, index: int, item: Insert) -> None:
        self.drafts[item.task.task_id] = Draft(None, item.write(), [index])
        if item.over is not None:
            self.happen(index, Happening(item.task.task_id, item.over))

    def give(self, item: Insert, node_id: str) -> None:
        """Give a new task its node in the write that makes it."""
        draft = self.drafts[item.task.task_id]
        assign = Assign(node_id=node_id, attempt=item.task.attempt + 1)
        transition = apply(item.task, assign, self._now, self._draw())
        alerts = self._notify(item.task, transition, self._now)
        draft.new, draft.write = item.task, _grown(draft.write, transition, alerts)

    def writes(self) -> tuple[TaskWrite, ...]:
        return tuple(draft.write for draft in self.drafts.values())

    def happen(self, index: int, item: Happening) -> None:
        draft = self.drafts.get(item.task_id)
        task = draft.write.task if draft else self._tasks.get(item.task_id)
        if task is None:
            self.refused[index] = NotFound.of("task")
            return
        try:
            transition = apply(task, settled(task, item.event), self._now, self._draw())
        except PodlingError as error:
            self.refused[index] = error
            return
        if transition.task is task:
            self._unchanged(index, draft, task)
            return
        alerts = self._notify(task, transition, self._now)
        if draft is None:
            write = TaskWrite(
                task=transition.task,
                expected_version=task.version,
                before=task.status,
                attempts=() if transition.attempt is None else (transition.attempt,),
                events=transition.events,
                alerts=alerts,
            )
            self.drafts[item.task_id] = Draft(task, write, [index], item.from_worker)
        else:
            draft.write = _grown(draft.write, transition, alerts)
            draft.indexes.append(index)
            draft.from_worker |= item.from_worker

    def _unchanged(self, index: int, draft: Draft | None, task: Task) -> None:
        if draft is None:
            self.unchanged[index] = task
        else:
            draft.indexes.append(index)  # true only if the draft is committed


def _grown(write: TaskWrite, transition: Transition, alerts: tuple[Alert, ...]) -> TaskWrite:
    attempts = write.attempts
    if transition.attempt is not None:
        number = transition.attempt.attempt
        attempts = (*(row for row in attempts if row.attempt != number), transition.attempt)
    return changed(
        write,
        task=transition.task,
        attempts=attempts,
        events=write.events + transition.events,
        alerts=write.alerts + alerts,
    )
