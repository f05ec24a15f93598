"""What the leader's loops do in a single pass, on a store in memory and without HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from podling.core.errors import StaleEpoch, StoreUnavailable
from podling.core.node import Node
from podling.core.task import Task, TaskStatus
from podling.master.context import MasterContext, MasterOptions, build
from podling.master.loops.deadlines import Deadlines
from podling.master.loops.scheduler import Scheduler
from podling.store.base import Batch, WriteResult
from podling.store.memory.store import MemoryStore
from tests.builders import at, build_batch, insertion
from tests.core.clusters import sized, wanting

EPOCH = 1
MANY = 100  # pages; no pass of these tests needs as many


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> Any:
        return at(self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class WatchedStore(MemoryStore):
    """Calls `before_page` before every page, and `before_commit` before every commit of a leader."""

    def __init__(self) -> None:
        super().__init__()
        self.before_page: Callable[[], None] = lambda: None
        self.before_commit: Callable[[Batch], None] = lambda batch: None
        self.pages = 0

    async def ready_page(self, limit: int, skip_task_ids: Sequence[str] = ()) -> Sequence[Task]:
        self.pages += 1
        assert self.pages < MANY, "the pass does not end"
        self.before_page()
        return await super().ready_page(limit, skip_task_ids)

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        if batch.epoch is not None:
            self.before_commit(batch)
        return await super().commit(batch)


class Leader:
    """A master that leads, without its server."""

    def __init__(self) -> None:
        self.store = WatchedStore()
        self.clock = ManualClock()
        self.context: MasterContext = build(
            MasterOptions(advertise_url="http://one.test", identity="one", master_id="m", version="0"),
            self.store,
            self.clock,
        )
        self.scheduler = Scheduler(self.context)

    async def lead(self) -> None:
        epoch = await self.store.take_leadership("one", await self.store.leadership())
        assert epoch == EPOCH
        self.context.lead(epoch)

    def put(self, *nodes: Node) -> None:
        for node in nodes:
            self.context.view.put_node(node)

    async def submit(self, *tasks: Task) -> None:
        await self.store.commit(build_batch([insertion(task) for task in tasks]))

    async def status(self, task: Task) -> TaskStatus:
        return (await self.store.load_tasks([task.task_id]))[task.task_id].status


@pytest.fixture
async def leader() -> Leader:
    leader = Leader()
    await leader.lead()
    return leader


async def test_a_pass_ends_when_the_leadership_does(leader: Leader) -> None:
    leader.put(sized("node-1"))
    await leader.submit(*(wanting({"cpu": 9000}) for _ in range(600)))
    leader.store.before_page = lambda: leader.context.lead(None)
    await leader.scheduler.run_once()
    assert leader.store.pages == 1


async def test_shapes_that_take_long_to_refuse_do_not_hold_up_what_fits(leader: Leader) -> None:
    leader.put(*(sized(f"node-{number}") for number in range(1000)))
    await leader.submit(*(wanting({"cpu": 9000 + number}) for number in range(150)))
    fits = wanting({"cpu": 100})
    await leader.submit(fits)
    await leader.scheduler.run_once()
    assert await leader.status(fits) is TaskStatus.SCHEDULED


async def test_a_pass_that_cannot_be_written_fails_and_says_why(leader: Leader) -> None:
    def fail(batch: Batch) -> None:
        raise StoreUnavailable("the disk is full")

    leader.put(sized("node-1"))
    task = wanting({"cpu": 100})
    task = replace(task, spec=replace(task.spec, deadline_seconds=5.0))
    await leader.submit(task)
    leader.store.before_commit = fail
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await leader.scheduler.run_once()
    leader.clock.seconds = 10.0
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await Deadlines(leader.context).run_once()
    assert await leader.status(task) is TaskStatus.PENDING


async def test_a_pass_of_a_leader_that_was_replaced_fails(leader: Leader) -> None:
    leader.put(sized("node-1"))
    await leader.scheduler.run_once()
    task = wanting({"cpu": 100})
    await leader.submit(task)
    await leader.store.take_leadership("two", await leader.store.leadership())
    with pytest.raises(StaleEpoch):
        await leader.scheduler.run_once()
    assert await leader.status(task) is TaskStatus.PENDING
