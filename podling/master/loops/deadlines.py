"""Ends tasks that waited, or took, longer than they may."""

from collections.abc import Sequence

from podling.core.lifecycle import Deadline, Event, QueueTimeout
from podling.core.limits import deadline_at, queue_timeout_at
from podling.core.task import Task, TaskStatus
from podling.kit.steps import WallSteps
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.store.base import Overdue, OverdueKind

MOST_PER_PASS = 500

_EVENTS: dict[OverdueKind, Event] = {
    OverdueKind.QUEUE_TIMEOUT: QueueTimeout(),
    OverdueKind.DEADLINE: Deadline(),
}


class Deadlines:
    """The timeout of one attempt is kept by its worker, also when no master can be reached."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self.wakeup = Wakeup()
        self._steps = WallSteps(context.clock)
        context.feed.listen(self._after_commit)

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if any(_has_deadline(item.after) for item in applied):
            self.wakeup.set()

    async def run_once(self) -> float | None:
        self._steps.observe()
        if not self._context.leads:
            return None
        overdue = await self._context.store.overdue(self._context.clock.now(), MOST_PER_PASS)
        due = await self._truly_due(overdue)
        happenings = [Happening(item.task_id, _EVENTS[item.kind]) for item in due]
        await self._context.committer.apply_as_leader(happenings)
        if len(due) == MOST_PER_PASS:
            return 0.0
        if len(due) < len(overdue):
            return None
        next_at = await self._context.store.next_overdue_at()
        return None if next_at is None else (next_at - self._context.clock.now()).total_seconds()

    async def _truly_due(self, overdue: Sequence[Overdue]) -> Sequence[Overdue]:
        """Leave out what is overdue only because somebody set this machine's clock forward."""
        if not self._steps.any:
            return overdue
        tasks = await self._context.store.load_tasks([item.task_id for item in overdue])
        return [item for item in overdue if item.task_id in tasks and self._is_due(tasks[item.task_id], item)]

    def _is_due(self, task: Task, item: Overdue) -> bool:
        is_deadline = item.kind is OverdueKind.DEADLINE
        at = deadline_at(task) if is_deadline else queue_timeout_at(task)
        start = task.created_at if is_deadline else max(task.created_at, task.run_at)
        return at is not None and at + self._steps.since(start) <= self._context.clock.now()


def _has_deadline(task: Task) -> bool:
    if task.status is not TaskStatus.PENDING:
        return False
    return task.spec.deadline_seconds is not None or task.spec.queue_timeout_seconds is not None
