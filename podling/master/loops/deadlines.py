"""Ends tasks that waited, or took, longer than they may."""

from collections.abc import Sequence

from podling.core.lifecycle import Deadline, Event, QueueTimeout
from podling.core.task import Task, TaskStatus
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.store.base import OverdueKind

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
        context.feed.listen(self._after_commit)

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if any(_has_deadline(item.after) for item in applied):
            self.wakeup.set()

    async def run_once(self) -> float | None:
        if not self._context.leads:
            return None
        overdue = await self._context.store.overdue(self._context.clock.now(), MOST_PER_PASS)
        happenings = [Happening(item.task_id, _EVENTS[item.kind]) for item in overdue]
        await self._context.committer.apply_as_leader(happenings)
        if len(overdue) == MOST_PER_PASS:
            return 0.0
        next_at = await self._context.store.next_overdue_at()
        return None if next_at is None else (next_at - self._context.clock.now()).total_seconds()


def _has_deadline(task: Task) -> bool:
    if task.status is not TaskStatus.PENDING:
        return False
    return task.spec.deadline_seconds is not None or task.spec.queue_timeout_seconds is not None
