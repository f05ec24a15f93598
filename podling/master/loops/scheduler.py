"""Gives ready tasks to nodes, page by page in claim order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from podling.core.errors import PodlingError
from podling.core.lifecycle import Assign
from podling.core.registries import key_of
from podling.core.retry import ErrorCode
from podling.core.task import Task, TaskStatus
from podling.core.traffic import Gate, in_order
from podling.core.view import Plan, plan
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.master.inserts import Insert
from podling.master.loops.blocked import BlockedShapes
from podling.master.loops.lines import PAGE, WaitingLines
from podling.master.loops.registries import RegistryWatch

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
        self._lines = WaitingLines(context)
        self._registries = RegistryWatch(context)
        self._nobody_waits = False
        self._waits_of: int | None = None  # the epoch in which that was found
        self._fresh: list[Task] = []  # submitted since the last pass, while nobody waited
        self._room_in_page = 0  # for more of the shapes that the cluster is full for
        context.feed.listen(self._after_commit)
        context.queues.listen(self._policies_changed)
        context.committer.giving.may_begin = self._may_begin_at_once
        context.committer.giving.choose = self._choose_nodes

    def node_changed(self, node_id: str) -> None:
        """A node came, went or changed what it offers: what was blocked may fit now."""
        self.wakeup.set()

    def _policies_changed(self) -> None:
        self._lines.forget()
        self.wakeup.set()

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        for change in applied:
            self._back_off(change)
            self._count(change)
        applied = [change for change in applied if not self._has_begun(change.after)]
        if self._nobody_waits and len(self._fresh) < PAGE:
            now = self._context.clock.now()
            self._fresh += [change.after for change in applied if self._is_fresh(change, now)]
        if any(self._may_matter(change) for change in applied) or self._room_in_page < 0:
            self.wakeup.set()

    def _has_begun(self, task: Task) -> bool:
        """Whether a task that is told of as pending has got its node in the same commit."""
        return task.status is TaskStatus.PENDING and self._context.view.task(task.task_id) is not None

    def _may_matter(self, change: Applied) -> bool:
        after, is_full = change.after, change.after.shape in self._context.full_for
        if after.status is TaskStatus.PENDING and self._lines.know(after):
            return not self._lines.is_full(after.spec.queue)
        if change.blocked:
            self._blocked.know(after.shape)
            return not is_full
        if change.before is None and is_full:
            self._room_in_page -= 1
            return False
        if after.status.is_terminal and after.spec.concurrency_key is None and self._is_free():
            return False  # its room is nobody's yet
        return after.attempt == 0 or not after.status.is_live

    def _count(self, change: Applied) -> None:
        """Keep what the caps and rates of queues are counted by."""
        before, after = change.before, change.after
        if self._context.traffic.windows and after.scheduled_at is not None:
            self._context.traffic.began(after.spec.queue, after.task_id, after.attempt, after.scheduled_at)
        if after.attempt and not after.status.is_live:
            self._lines.ended(after.spec.queue)
        key = after.spec.concurrency_key
        if key is not None and before is not None and before.status.is_live and not after.status.is_live:
            self._lines.free(after)

    def _is_fresh(self, change: Applied, now: datetime) -> bool:
        after = change.after
        return (
            change.before is None
            and not change.blocked
            and after.status is TaskStatus.PENDING
            and after.run_at <= now
            and not self._context.queues.rules.is_lined_up(after.spec.queue)
        )

    def _back_off(self, change: Applied) -> None:
        """Keep a shape off a node that just failed to make a container of it, until it has made one.

        The registry of its image may be at fault, too.
        """
        before, after = change.before, change.after
        if before is None or before.node_id is None:
            return
        back_offs, registries = self._context.view.back_offs, self._context.registries
        if after.status in _MADE:
            back_offs.started(before.node_id, after.shape)
            registries.started(after)
        elif not after.status.is_live and after.error_code in _NODE_AT_FAULT:
            back_offs.failed(before.node_id, after.shape, self._context.clock.monotonic())
            registries.failed(after)

    async def run_once(self) -> float | None:
        if not self._context.leads:
            return None
        await self._clear_up()
        await self._blocked.learn()
        for registry in await self._registries.learn():
            self._lines.free_registry(key_of(registry))
        await self._lines.learn()
        unblocked = await self._blocked.unblock()
        has_more = await self._lines.recall() or unblocked.has_more
        self._nobody_waits &= not unblocked.tasks
        self._lines.open_due()
        await self._place_fresh()
        while self._context.leads and await self._place_page():
            pass
        if self._context.leads:
            await self._lines.look(self._lines.gate())
        return 0.0 if has_more else self._seconds_to_next()

    def _seconds_to_next(self) -> float | None:
        next_at = self._lines.next_at()
        return None if next_at is None else max(0.0, (next_at - self._context.clock.now()).total_seconds())

    async def _clear_up(self) -> None:
        """Learn what became of commits that were not answered."""
        if self._catch_up is not None and self._context.committer.is_unsure:
            await self._context.committer.settle_doubt()
            await self._catch_up()

    # In the commit that stores them

    def _may_begin_at_once(self) -> bool:
        """Whether new tasks may be given to nodes before they are stored."""
        return self._is_free() and len(self._fresh) < PAGE

    def _is_free(self) -> bool:
        """Whether nobody waits for room, as far as is known, and no limit is to be kept."""
        context = self._context
        return (
            self._nobody_waits
            and self._waits_of == context.epoch is not None
            and not (self._blocked.are_known or context.committer.is_unsure)
            and not context.queues.policies
            and context.registries.all_work
        )

    def _choose_nodes(self, inserts: Sequence[Insert]) -> Mapping[str, str]:
        """Return who goes where, after those that were there before, who get their nodes in the next pass."""
        if not self._may_begin_at_once():
            return {}
        now = self._context.clock.now()
        new = {item.task.task_id: item.task for item in inserts if _may_begin(item, now)}
        before = sorted(self._fresh, key=_claim_order)
        decided = self._planned([*before, *sorted(new.values(), key=_claim_order)], None)
        return {item.task_id: item.node_id for item in decided.placements if item.task_id in new}

    def _planned(self, page: Sequence[Task], gate: Gate | None) -> Plan:
        begin = self._context.clock.monotonic()
        decided = plan(self._context.view, page, begin, gate=gate)
        self._context.measures.plans.observe(self._context.clock.monotonic() - begin)
        return decided

    # In passes

    async def _place_fresh(self) -> None:
        fresh, self._fresh = self._fresh[:PAGE], []
        if fresh and self._nobody_waits:
            decided, _ = await self._place(sorted(fresh, key=_claim_order))
            await self._lines.set_aside(fresh, (), decided)

    async def _place(self, page: Sequence[Task]) -> tuple[Plan, list[Task | PodlingError]]:
        context = self._context
        async with context.committer.giving.turn:
            gate, now = self._gate_for(page), context.clock.now()
            ordered = page if gate is None else [*in_order(page, gate.rules, context.traffic, now)]
            decided = self._planned(ordered, gate)
            self._lines.tell(decided.delayed)
            return decided, await context.committer.apply_as_leader(_assignments(page, decided))

    def _gate_for(self, page: Sequence[Task]) -> Gate | None:
        """Return None where no queue, no registry and no task's key says anything: nothing is asked then."""
        context = self._context
        if context.queues.policies or context.registries.hold:
            return self._lines.gate()
        return self._lines.gate() if any(task.spec.concurrency_key for task in page) else None

    async def _place_page(self) -> bool:
        """Place one page; True if there may be more that fits. Raises StoreUnavailable, StaleEpoch."""
        page, self._room_in_page = await self._context.store.ready_page(PAGE), PAGE
        await asyncio.sleep(0)  # reading a page takes a while, and so does planning one
        heads = await self._lines.heads(self._lines.gate()) if self._context.queues.policies else ()
        self._nobody_waits, self._waits_of = not page, self._context.epoch
        if not page and not heads:
            self._blocked.fill()
            return False
        decided, placed = await self._place([*page, *heads])
        self._lines.rest(decided.delayed.values())
        moved = await self._lines.set_aside(page, heads, decided)
        stayed = [task for task in page if task.task_id not in moved]
        has_placed = any(isinstance(answer, Task) for answer in placed)
        self._nobody_waits = len(page) < PAGE and len(decided.placements) == len(page) + len(heads)
        if decided.complete and len(page) < PAGE:
            self._blocked.fill(decided.blocked)
            self._room_in_page = PAGE - len(stayed)
            return bool(moved) or (bool(heads) and has_placed)
        marked = await self._blocked.block([task for task in stayed if task.shape in decided.blocked])
        return marked > 0 or bool(moved) or has_placed


def _may_begin(item: Insert, now: datetime) -> bool:
    """Whether nothing but room decides when it begins, and nothing but itself is written with it."""
    task = item.task
    return (
        not item.blocked
        and item.line is None
        and item.replays is None
        and item.fire is None
        and item.over is None
        and item.inbox_id is None
        and task.run_at <= now
        and task.spec.concurrency_key is None
    )


def _claim_order(task: Task) -> tuple[int, datetime, datetime, str]:
    return -task.spec.priority, task.run_at, task.created_at, task.task_id


def _assignments(page: Sequence[Task], decided: Plan) -> list[Happening]:
    by_id = {task.task_id: task for task in page}
    return [_assignment(by_id[item.task_id], item.node_id) for item in decided.placements]


def _assignment(task: Task, node_id: str) -> Happening:
    """The plan holds for the attempt that it was made for, and for no later one."""
    return Happening(task.task_id, Assign(node_id=node_id, attempt=task.attempt + 1), task)
