"""Follows what other masters commit, so that this one's view and sessions know it too."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from podling.core.task import Task, TaskStatus
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied
from podling.master.context import MasterContext
from podling.store.base import Change, ChangeBatch, Snapshot

MOST_PER_PASS = 1000
RELOAD_AFTER_SECONDS = 300.0  # the store keeps changes for twice as long


class ChangesFeed:
    """`start` loads the view; `run_once` brings it up to date. Own commits are already in it."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._cursors: dict[str, int] = {}
        self._read_at = 0.0  # when the cursors were true
        self._turn = asyncio.Lock()
        self._committed_meanwhile: dict[str, int] | None = None  # versions, while tasks are loaded
        self.wakeup = Wakeup()
        context.feed.listen(self._after_commit)

    async def start(self) -> None:
        """Load nodes and live tasks with the feed's position, in one snapshot."""
        asked_at = self._context.clock.monotonic()
        self._put(await self._context.store.snapshot())
        self._read_at = asked_at

    async def start_over(self) -> None:
        """Forget the view and load it anew: the store has gone back to what it was at a backup."""
        async with self._turn:
            asked_at = self._context.clock.monotonic()
            self._committed_meanwhile = {}
            try:
                snapshot = await self._context.store.snapshot()
                meanwhile = self._committed_meanwhile
            finally:
                self._committed_meanwhile = None
            self._context.view.clear()
            self._put(snapshot)
            self._read_at = asked_at
            await self._take_over(meanwhile)

    def _put(self, snapshot: Snapshot) -> None:
        for node in snapshot.nodes:
            self._context.view.put_node(node)
        for task in snapshot.live_tasks:
            self._context.view.put_task(task)
        self._go_on_after(snapshot)

    def _go_on_after(self, snapshot: Snapshot) -> None:
        self._cursors = dict(snapshot.cursors)
        self._context.tally.begin(snapshot.counts)
        self._context.events.jump(snapshot.cursors)

    async def run_once(self) -> float | None:
        async with self._turn:
            asked_at = self._context.clock.monotonic()
            if asked_at - self._read_at > RELOAD_AFTER_SECONDS:
                await self._reload()
            batches = await self._context.store.changes_after(self._cursors, MOST_PER_PASS)
            self._context.events.tell(batches)
            answered = [batch for batch in batches if not self._is_in_flight(batch)]
            news = [batch for batch in answered if self._is_news(batch)]
            for batch in news:
                self._context.tally.told(batch.changes)
            tasks = await self._take_over(
                change.task_id for batch in news for change in batch.changes if self._concerns(batch, change)
            )
            for batch in news:
                self._context.queue_counts.told(batch.changes, tasks)
            for batch in answered:
                self._cursors[batch.master_id] = batch.number
            self._tell_committer()
            self._read_at = asked_at
        return 0.0 if len(batches) == MOST_PER_PASS else None

    async def _reload(self) -> None:
        """Compare all of the view with the store: changes that were not read in time may be gone."""
        snapshot = await self._context.store.snapshot()
        for node in snapshot.nodes:
            self._context.view.put_node(node)
        live = [task.task_id for task in snapshot.live_tasks]
        await self._take_over([*live, *self._context.view.live_task_ids()])
        self._go_on_after(snapshot)
        self._tell_committer()

    def _tell_committer(self) -> None:
        for lane_id, lane in self._context.committer.lanes.items():
            lane.now_known(self._cursors.get(lane_id, 0))

    async def catch_up(self) -> None:
        """Return when everything that was committed before the call is known."""
        while await self.run_once() is not None:
            pass

    def _is_in_flight(self, batch: ChangeBatch) -> bool:
        """Left for the next pass: only the store's answer, or its absence, says whether it is news."""
        lane = self._context.committer.lanes.get(batch.master_id)
        return lane is not None and lane.in_flight == batch.number

    def _is_news(self, batch: ChangeBatch) -> bool:
        lane = self._context.committer.lanes.get(batch.master_id)
        return lane is None or lane.was_unsure(batch.number)

    def _concerns(self, batch: ChangeBatch, change: Change) -> bool:
        """A new task waits for the leader, and for nobody else but the master that took it."""
        is_new = change.version == 1 and change.status is TaskStatus.PENDING
        return not is_new or self._context.leads or batch.master_id in self._context.committer.lanes

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if self._committed_meanwhile is not None:
            self._committed_meanwhile |= {item.after.task_id: item.after.version for item in applied}

    async def _take_over(self, task_ids: Iterable[str]) -> Mapping[str, Task]:
        """Have the view know what these tasks are now; return them."""
        if not (changed := list(dict.fromkeys(task_ids))):
            return {}
        self._committed_meanwhile = {}
        try:
            tasks = await self._context.store.load_tasks(changed)
            known = self._committed_meanwhile
        finally:
            self._committed_meanwhile = None
        newer = [task for task in tasks.values() if task.version > known.get(task.task_id, 0)]
        self._context.feed.publish([self._applied(task) for task in newer])
        for lane in self._context.committer.lanes.values():
            lane.overtake(newer)
        return tasks

    def _applied(self, task: Task) -> Applied:
        return Applied(self._context.view.task(task.task_id), task)
