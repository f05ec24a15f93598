"""Ends tasks that waited, or took, longer than they may."""

from collections.abc import Sequence
from datetime import datetime

from podling.core.lifecycle import Deadline, Event, QueueTimeout
from podling.core.limits import deadline_at, queue_timeout_at
from podling.core.task import Task, TaskStatus
from podling.kit.steps import WallSteps
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.store.base import Overdue, OverdueKind

PAGE = 500
MOST_PAGES = 8  # in one pass

_EVENTS: dict[OverdueKind, Event] = {
    OverdueKind.QUEUE_TIMEOUT: QueueTimeout(),
    OverdueKind.DEADLINE: Deadline(),
}


class Deadlines:
    """The timeout of one attempt is kept by its worker, also when no master can be reached.

    What a step of the clock made overdue stays in the store's order, before what is due in truth:
    a pass goes on where the last one stopped, so that everybody's turn comes.
    """

    def __init__(self, context: MasterContext, page: int = PAGE) -> None:
        self._context = context
        self._page = page
        self.wakeup = Wakeup()
        self._steps = WallSteps(context.clock)
        self._after: tuple[datetime, str] | None = None  # the last one seen; None at the end
        context.feed.listen(self._after_commit)

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if any(_has_deadline(item.after) for item in applied):
            self.wakeup.set()

    async def run_once(self) -> float | None:
        self._steps.observe()
        if not self._context.leads:
            return None
        ended = left_out = 0
        for _ in range(MOST_PAGES):
            overdue, due = await self._end_page()
            ended += len(due)
            left_out += len(overdue) - len(due)
            if self._after is None:
                break
        if left_out or self._after is not None:
            return 0.0 if ended >= self._page else None
        return await self._seconds_to_next()

    async def _end_page(self) -> tuple[Sequence[Overdue], Sequence[Overdue]]:
        """Return what the next page has, and what of it was due and has been told so."""
        overdue = await self._context.store.overdue(self._context.clock.now(), self._page, self._after)
        due = await self._truly_due(overdue)
        happenings = [Happening(item.task_id, _EVENTS[item.kind]) for item in due]
        await self._context.committer.apply_as_leader(happenings)
        self._after = (overdue[-1].at, overdue[-1].task_id) if len(overdue) == self._page else None
        return overdue, due

    async def _seconds_to_next(self) -> float | None:
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
