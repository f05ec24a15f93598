"""Gives ready tasks to nodes, page by page in claim order."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from podling.core.errors import PodlingError
from podling.core.lifecycle import Assign
from podling.core.retry import ErrorCode
from podling.core.task import Task, TaskStatus
from podling.core.view import Plan, plan
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.master.loops.blocked import BlockedShapes

PAGE = 500

_MADE = frozenset({TaskStatus.RUNNING, TaskStatus.COMPLETED})
_NODE_AT_FAULT = frozenset(
    {
        ErrorCode.IMAGE_PULL,
        ErrorCode.IMAGE_AUTH,
        ErrorCode.IMAGE_MISSING,
        ErrorCode.CREATE,
        ErrorCode.POLICY_DENIED,
        ErrorCode.RUNTIME,
    }
)


class Scheduler:
    """Blocked shapes are marked in the store only where they stand in the way of others.

    A page that is not full has nobody behind it, and is simply planned again when something changes:
    more tasks of its shapes change nothing, and are blocked from the start if this master takes them.
    While nobody waits, what is submitted is planned at once, without asking the store for it.

    A plan is only as good as the view: an assignment whose commit was not answered takes room that
    the view shows as free, so `catch_up` reads the feed before anything else is given away.
    """

    def __init__(self, context: MasterContext, catch_up: Callable[[], Awaitable[None]] | None = None) -> None:
        self._context = context
        self._catch_up = catch_up
        self.wakeup = Wakeup()
        self._blocked = BlockedShapes(context)
        self._nobody_waits = False
        self._fresh: list[Task] = []  # submitted since the last pass, while nobody waited
        self._room_in_page = 0  # for more of the shapes that the cluster is full for
        context.feed.listen(self._after_commit)

    def node_changed(self, node_id: str) -> None:
        """A node came, went or changed what it offers: what was blocked may fit now."""
        self.wakeup.set()

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        for change in applied:
            self._back_off(change)
        if self._nobody_waits and len(self._fresh) < PAGE:
            now = self._context.clock.now()
            self._fresh += [change.after for change in applied if _is_fresh(change, now)]
        if any(self._may_matter(change) for change in applied) or self._room_in_page < 0:
            self.wakeup.set()

    def _may_matter(self, change: Applied) -> bool:
        after, is_full = change.after, change.after.shape in self._context.full_for
        if change.blocked:
            self._blocked.know(after.shape)
            return not is_full
        if change.before is None and is_full:
            self._room_in_page -= 1
            return False
        return after.attempt == 0 or not after.status.is_live

    def _back_off(self, change: Applied) -> None:
        """Keep a shape off a node that just failed to make a container of it, until it has made one."""
        before, after = change.before, change.after
        if before is None or before.node_id is None:
            return
        back_offs = self._context.view.back_offs
        if after.status in _MADE:
            back_offs.started(before.node_id, after.shape)
        elif not after.status.is_live and after.error_code in _NODE_AT_FAULT:
            back_offs.failed(before.node_id, after.shape, self._context.clock.monotonic())

    async def run_once(self) -> float | None:
        if not self._context.leads:
            return None
        self._context.full_for = frozenset()
        await self._clear_up()
        await self._blocked.learn()
        unblocked = await self._blocked.unblock()
        self._nobody_waits &= not unblocked.tasks
        await self._place_fresh()
        while self._context.leads and await self._place_page():
            pass
        return 0.0 if unblocked.has_more else None

    async def _clear_up(self) -> None:
        """Learn what became of commits that were not answered."""
        if self._catch_up is not None and self._context.committer.is_unsure:
            await self._context.committer.settle_doubt()
            await self._catch_up()

    async def _place_fresh(self) -> None:
        fresh, self._fresh = self._fresh[:PAGE], []
        if fresh and self._nobody_waits:
            await self._place(sorted(fresh, key=_claim_order))

    async def _place(self, page: Sequence[Task]) -> tuple[Plan, list[Task | PodlingError]]:
        clock = self._context.clock
        begin = clock.monotonic()
        decided = plan(self._context.view, page, begin)
        self._context.measures.plans.observe(clock.monotonic() - begin)
        return decided, await self._context.committer.apply_as_leader(_assignments(page, decided))

    async def _place_page(self) -> bool:
        """Place one page; True if there may be more that fits. Raises StoreUnavailable, StaleEpoch."""
        page = await self._context.store.ready_page(PAGE)
        self._nobody_waits = not page
        if not page:
            return False
        decided, placed = await self._place(page)
        self._nobody_waits = len(page) < PAGE and len(decided.placements) == len(page)
        if decided.complete and len(page) < PAGE:
            self._context.full_for, self._room_in_page = frozenset(decided.blocked), PAGE - len(page)
            return False
        marked = await self._blocked.block([task for task in page if task.shape in decided.blocked])
        return marked > 0 or any(isinstance(answer, Task) for answer in placed)


def _is_fresh(change: Applied, now: datetime) -> bool:
    after = change.after
    return (
        change.before is None
        and not change.blocked
        and after.status is TaskStatus.PENDING
        and after.run_at <= now
    )


def _claim_order(task: Task) -> tuple[int, datetime, datetime, str]:
    return -task.spec.priority, task.run_at, task.created_at, task.task_id


def _assignments(page: Sequence[Task], decided: Plan) -> list[Happening]:
    by_id = {task.task_id: task for task in page}
    return [_assignment(by_id[item.task_id], item.node_id) for item in decided.placements]


def _assignment(task: Task, node_id: str) -> Happening:
    """The plan holds for the attempt that it was made for, and for no later one."""
    return Happening(task.task_id, Assign(node_id=node_id, attempt=task.attempt + 1), task)
