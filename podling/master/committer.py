"""Every write of this master to tasks goes through here: joined, decided by the core, committed.

What arrives while one batch is being written makes up the next. The leader's own items are
committed apart from everybody else's, fenced by its epoch. New tasks are in nobody's way, so they
have a lane of their own.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from podling.core.errors import Conflict, InvalidInput, PodlingError, StaleEpoch, Unavailable
from podling.core.lifecycle import Event
from podling.core.node import NodeChange
from podling.core.task import Task
from podling.kit.batcher import Batcher
from podling.kit.clock import Clock
from podling.master.drafts import Applied as Applied
from podling.master.drafts import DraftPlan, Notify
from podling.master.drafts import Happening as Happening
from podling.master.giving import Giving
from podling.master.inserts import Insert, InsertWorkflow
from podling.master.lane import CommitLane
from podling.store.base import Store, WriteResult, WriteStatus

_log = logging.getLogger(__name__)

MOST_PER_BATCH = 500
MOST_PER_TURN = 100  # are decided in one turn of the event loop
MOST_WAITING = 10_000  # then the store is too slow for what comes in
_REFUSALS = frozenset(
    {WriteStatus.DUPLICATE, WriteStatus.NOT_LISTED, WriteStatus.NO_PARENT, WriteStatus.REFUSED}
)
MOST_TRIES = 8  # against writers on other masters; each try loads what the other one wrote


_Item = Insert | Happening
_Answer = Task | WriteResult
Publish = Callable[[Sequence[Applied]], None]
Recall = Callable[[str], Task | None]


class Committer:
    """`recall` finds a live task in memory; `publish` is told of everything that was committed.

    `lanes` are this master's, by the id under which the feed tells their batches.

    `notify` says whom a change is told to, so that no such alert is lost: it is in the same commit.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        draw: Callable[[], float],
        master_id: str,
        recall: Recall,
        publish: Publish,
        notify: Notify,
    ) -> None:
        self._store = store
        self._clock = clock
        self._draw = draw
        self._recall = recall
        self._publish = publish
        self._notify = notify
        self._epoch: int | None = None
        self.giving = Giving()
        self._main = CommitLane(store, clock, master_id)
        self._intake = CommitLane(store, clock, f"{master_id}.1")
        self.lanes = {lane.lane_id: lane for lane in (self._main, self._intake)}
        self._inserts: Batcher[_Item, _Answer] = Batcher(self._write_inserts, MOST_PER_BATCH)
        self._everyone: Batcher[_Item, _Answer] = Batcher(self._write_everyones, MOST_PER_BATCH)
        self._leader: Batcher[_Item, _Answer] = Batcher(self._write_leaders, MOST_PER_BATCH)
        self._workflows: Batcher[InsertWorkflow, WriteResult | None] = Batcher(self._write_workflow, 1)
        self._nodes: Batcher[NodeChange, None] = Batcher(self._write_nodes, MOST_PER_BATCH)

    def lead(self, epoch: int | None) -> None:
        """Use this epoch for the leader's items; None when this master does not lead."""
        self._epoch = epoch

    def insert(self, item: Insert) -> "asyncio.Future[Task | WriteResult]":
        """Store a new task; the answer is the task, or the store's result for a used idempotency key, for a
        replay whose original is not on the dead-letter list any more, for a parent that is not there, or for
        a fire that was decided before.

        The answer raises StoreUnavailable. Raises Unavailable while too many wait: reports of workers go on.
        """
        if self.is_behind:
            raise Unavailable("too many requests wait for the store; try again", code="overloaded")
        return self._inserts.enqueue(item)

    async def insert_workflow(self, item: InsertWorkflow) -> WriteResult | None:
        """Store a workflow with all its tasks, or nothing of it; the answer is None, or whose key it has.

        Raises StoreUnavailable, InvalidInput, and Unavailable as above.
        """
        if self.is_behind:
            raise Unavailable("too many requests wait for the store; try again", code="overloaded")
        return await self._workflows.put(item)

    async def apply(self, task_id: str, event: Event, *, from_worker: bool = False) -> Task:
        """Return the task after the event.

        Raises NotFound, StaleAttempt, IllegalTransition, or StoreUnavailable.
        """
        answer = await self._everyone.put(Happening(task_id, event, from_worker=from_worker))
        assert isinstance(answer, Task)
        return answer

    async def report_all(self, happenings: Sequence[Happening]) -> Sequence[Task | Exception]:
        """Apply what a worker tells, in its order; each answer is the task, or why it could not be."""
        answers = await self._everyone.put_all(happenings)
        return [answer for answer in answers if isinstance(answer, Task | Exception)]

    async def apply_as_leader(self, happenings: Sequence[Happening]) -> list[Task | PodlingError]:
        """Apply the leader's events; each answer is the task, or why the event was refused.

        Raises StoreUnavailable or StaleEpoch if any of them could not be decided at all.
        """
        answers = await self._put_as_leader(happenings)
        return [answer for answer in answers if isinstance(answer, Task | PodlingError)]

    async def insert_as_leader(self, inserts: Sequence[Insert]) -> list[Task | WriteResult | PodlingError]:
        """Store the tasks of schedules; each answer is the task, or why it was not made. Raises as above."""
        return await self._put_as_leader(inserts)

    async def _put_as_leader(self, items: Sequence[_Item]) -> list[_Answer | PodlingError]:
        answers: list[_Answer | PodlingError] = []
        for answer in await self._leader.put_all(items):
            if isinstance(answer, Exception) and (
                isinstance(answer, Unavailable) or not isinstance(answer, PodlingError)
            ):
                raise answer
            answers.append(answer)
        return answers

    def tell(self, change: NodeChange) -> None:
        """Put into the feed what became of a node, soon; dropped while the store is away.

        It tells of a write that is there already: who wants to be sure asks for the node.
        """
        if self._nodes.waiting < MOST_WAITING:
            self._nodes.enqueue(change).add_done_callback(_dropped)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that nothing new should be taken."""
        return self._inserts.waiting + self._everyone.waiting + self._workflows.waiting >= MOST_WAITING

    @property
    def is_writing(self) -> bool:
        """Whether a batch has not been answered yet."""
        return any(lane.in_flight is not None for lane in self.lanes.values())

    @property
    def is_unsure(self) -> bool:
        """Whether something may have been committed of which the view has not heard."""
        return any(lane.is_unsure for lane in self.lanes.values())

    async def settle_doubt(self) -> None:
        """See to it that what was unsure is in the feed, or never will be. Raises StoreUnavailable."""
        for lane in self.lanes.values():
            await lane.settle_doubt()

    async def drain(self) -> None:
        """Wait until everything that was accepted has been written."""
        await self._inserts.drain()
        await self._workflows.drain()
        await self._everyone.drain()
        await self._leader.drain()
        await self._nodes.drain()

    async def _write_inserts(self, items: Sequence[_Item]) -> Sequence[_Answer | Exception]:
        async with self._intake.turn:
            if self._epoch is None or not self.giving.may_begin():
                return await self._write(self._intake, items, None)
            async with self.giving.turn:
                inserts = [item for item in items if isinstance(item, Insert)]
                nodes = self.giving.choose(inserts)
                return await self._write(self._intake, items, self._epoch if nodes else None, nodes)

    async def _write_workflow(self, items: Sequence[InsertWorkflow]) -> Sequence[WriteResult | None]:
        (item,) = items
        writes = tuple(insert.write() for insert in item.inserts)
        async with self._intake.turn:
            results = await self._intake.commit(writes, None, workflow=item.workflow)
        if results[0].status is not WriteStatus.APPLIED:
            return [results[0]]
        self._publish([Applied(None, write.task, blocked=write.blocked) for write in writes])
        return [None]

    async def _write_everyones(self, items: Sequence[_Item]) -> Sequence[_Answer | Exception]:
        async with self._main.turn:
            return await self._write(self._main, items, None)

    async def _write_leaders(self, items: Sequence[_Item]) -> Sequence[_Answer | Exception]:
        async with self._main.turn:
            if self._epoch is None:
                raise StaleEpoch("this master does not lead any more")
            return await self._write(self._main, items, self._epoch)

    async def _write_nodes(self, changes: Sequence[NodeChange]) -> Sequence[None]:
        async with self._main.turn:
            await self._main.commit((), None, tuple(changes))
        return [None] * len(changes)

    async def _write(
        self,
        lane: CommitLane,
        items: Sequence[_Item],
        epoch: int | None,
        nodes: Mapping[str, str] = MappingProxyType({}),
    ) -> Sequence[_Answer | Exception]:
        answers: dict[int, _Answer | Exception] = {}
        trust_memory = True
        for _ in range(MOST_TRIES):
            waiting = [index for index in range(len(items)) if index not in answers]
            if not waiting:
                break
            await self._try(lane, items, waiting, answers, epoch, trust_memory, nodes)
            trust_memory = False
        busy = Conflict("the task is being changed by others all the time; try again")
        return [answers.get(index, busy) for index in range(len(items))]

    async def _try(
        self,
        lane: CommitLane,
        items: Sequence[_Item],
        waiting: Sequence[int],
        answers: dict[int, _Answer | Exception],
        epoch: int | None,
        trust_memory: bool,
        nodes: Mapping[str, str],
    ) -> None:
        """Decide and commit the items at `waiting`; those in conflict get no answer yet.

        What the store cannot keep is refused by itself: the others are written in smaller batches.
        """
        plan = DraftPlan(
            await self._load(items, waiting, trust_memory), self._clock, self._draw, self._notify
        )
        for position, index in enumerate(waiting, 1):
            if position % MOST_PER_TURN == 0:
                await asyncio.sleep(0)
            item = items[index]
            if isinstance(item, Insert):
                plan.insert(index, item)
                if (node_id := nodes.get(item.task.task_id)) is not None:
                    plan.give(item, node_id)
            else:
                plan.happen(index, item)
        if not trust_memory:
            answers.update(plan.refused)
        answers.update(plan.unchanged)
        if not plan.drafts:
            return
        try:
            results = await lane.commit(plan.writes(), epoch)
        except StaleEpoch:
            if not nodes:
                raise
            await self._try(lane, items, waiting, answers, None, trust_memory, {})
        except InvalidInput as refusal:
            undecided = [index for index in waiting if index not in answers]
            if len(undecided) == 1:
                answers[undecided[0]] = refusal
                return
            for half in _halves(undecided):
                await self._try(lane, items, half, answers, epoch, trust_memory, nodes)
        else:
            self._settle(lane, plan, results, answers)

    async def _load(
        self, items: Sequence[_Item], waiting: Sequence[int], trust_memory: bool
    ) -> dict[str, Task]:
        tasks: dict[str, Task] = {}
        missing = []
        for index in waiting:
            item = items[index]
            if isinstance(item, Insert):
                continue
            known = (self._recall(item.task_id) or item.known) if trust_memory else None
            if known is None:
                missing.append(item.task_id)
            else:
                tasks[item.task_id] = known
        if missing:
            tasks.update(await self._store.load_tasks(missing))
        return tasks

    def _settle(
        self,
        lane: CommitLane,
        plan: DraftPlan,
        results: Sequence[WriteResult],
        answers: dict[int, _Answer | Exception],
    ) -> None:
        applied: list[Applied] = []
        for draft, result in zip(plan.drafts.values(), results, strict=True):
            if result.status is WriteStatus.APPLIED:
                applied += (_told(change, lane) for change in draft.applied())
                answers.update(dict.fromkeys(draft.indexes, draft.write.task))
            elif result.status in _REFUSALS:
                answers.update(dict.fromkeys(draft.indexes, result))
        if applied:
            self._publish(applied)


def _told(change: Applied, lane: CommitLane) -> Applied:
    return replace(change, overtaken=True) if lane.is_overtaken(change.after) else change


def _dropped(told: "asyncio.Future[None]") -> None:
    if not told.cancelled() and (error := told.exception()) is not None:
        _log.debug("a change of a node was not told: %s", error)


def _halves(indexes: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    middle = len(indexes) // 2
    return indexes[:middle], indexes[middle:]
