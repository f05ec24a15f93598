"""Makes pending tasks ready when their time has come: first starts in the future, and retries."""

from collections.abc import Sequence

from podling.core.task import TaskStatus
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied
from podling.master.context import MasterContext

MOST_PER_PASS = 1000


class Promoter:
    """`scheduler` is woken when there is something new to place."""

    def __init__(self, context: MasterContext, scheduler: Wakeup) -> None:
        self._context = context
        self._scheduler = scheduler
        self.wakeup = Wakeup()
        context.feed.listen(self._after_commit)

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        now = self._context.clock.now()
        if any(item.after.status is TaskStatus.PENDING and item.after.run_at > now for item in applied):
            self.wakeup.set()

    async def run_once(self) -> float | None:
        if not self._context.leads:
            return None
        store = self._context.store
        promoted = await store.promote(self._context.clock.now(), MOST_PER_PASS)
        if promoted:
            self._scheduler.set()
        if promoted == MOST_PER_PASS:
            return 0.0
        next_at = await store.next_run_at()
        return None if next_at is None else (next_at - self._context.clock.now()).total_seconds()
