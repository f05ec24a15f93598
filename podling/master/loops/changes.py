"""Follows what other masters commit, so that this one's view and sessions know it too."""

from podling.core.task import Task
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied
from podling.master.context import MasterContext
from podling.store.base import ChangeBatch

MOST_PER_PASS = 1000


class ChangesFeed:
    """`start` loads the view; `run_once` brings it up to date. Own commits are already in it."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._cursors: dict[str, int] = {}
        self.wakeup = Wakeup()

    async def start(self) -> None:
        """Load nodes and live tasks with the feed's position, in one snapshot."""
        snapshot = await self._context.store.snapshot()
        for node in snapshot.nodes:
            self._context.view.put_node(node)
        for task in snapshot.live_tasks:
            self._context.view.put_task(task)
        self._cursors = dict(snapshot.cursors)

    async def run_once(self) -> float | None:
        batches = await self._context.store.changes_after(self._cursors, MOST_PER_PASS)
        own = self._context.options.master_id
        await self._take_over([batch for batch in batches if batch.master_id != own])
        for batch in batches:
            self._cursors[batch.master_id] = batch.number
        return 0.0 if len(batches) == MOST_PER_PASS else None

    async def _take_over(self, batches: list[ChangeBatch]) -> None:
        changed = {change.task_id: change.version for batch in batches for change in batch.changes}
        if not changed:
            return
        tasks = await self._context.store.load_tasks(list(changed))
        self._context.feed.publish([self._applied(task) for task in tasks.values()])

    def _applied(self, task: Task) -> Applied:
        return Applied(self._context.view.task(task.task_id), task)
