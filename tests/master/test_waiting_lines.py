"""What a pass costs where queues wait, however many they are and however long their lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from podling.core.access import LOCAL
from podling.core.lifecycle import Reported
from podling.core.protocol import Report, ReportKind
from podling.core.queue import QueuePolicy
from podling.core.task import Task, TaskStatus
from podling.core.traffic import Rules
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.master.loops.lines import MOST_TOLD
from podling.master.loops.scheduler import Scheduler
from podling.master.operations import tasks
from podling.master.operations.admission import Entry
from podling.store.base import Store
from podling.store.ports.decisions import DecisionQuery
from podling.store.ports.lines import Lines
from tests.builders import NOW, build_node, build_spec
from tests.master.world import World

CAPPED = QueuePolicy(max_in_flight=1)


class Asked(Rules):
    """Rules that tell of which queues somebody asked."""

    def __init__(self, policies: Mapping[str, QueuePolicy]) -> None:
        super().__init__(policies)
        self.queues: Counter[str] = Counter()

    def of(self, queue: str) -> QueuePolicy:
        self.queues[queue] += 1
        return super().of(queue)


class Counted:
    """Lines that tell how many tasks were read from them."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.read: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lines, name)

    async def heads(self, rooms: Mapping[str, int]) -> Sequence[Task]:
        found = await self._lines.heads(rooms)
        self.read.append(len(found))
        return found


class Counting:
    """A store whose lines are counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lines = Counted(store.lines)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def started(world: World, queues: int, each: int) -> tuple[MasterContext, Scheduler, Counting]:
    """A leader with queues that have one task on a node, and the others in line."""
    store = Counting(world.store)
    context = await world.leader(store=store)
    number = await world.store.open_session(build_node())
    context.view.put_node(build_node(session_no=number, allocatable={"slots": 10_000}))
    context.queues.rules = Rules({f"q{number}": CAPPED for number in range(queues)})
    scheduler = Scheduler(context)
    for number in range(queues):
        for _ in range(each):
            await tasks.submit(context, build_spec(queue=f"q{number}"), Entry(actor=LOCAL))
    await scheduler.run_once()
    assert sum(context.view.flight.queues.values()) == queues
    return context, scheduler, store


async def end_one(context: MasterContext, queue: str) -> None:
    """The task of this queue that is on the node ends."""
    (task,) = (task for task in context.view.live_tasks_on("node-1") if task.spec.queue == queue)
    report = Report(task_id=task.task_id, attempt=1, kind=ReportKind.ENDED, sequence=1, at=NOW, exit_code=0)
    (ended,) = await context.committer.apply_as_leader(
        [Happening(task.task_id, Reported(report=report, node_id="node-1"))]
    )
    assert isinstance(ended, Task) and ended.status is TaskStatus.COMPLETED


@pytest.mark.parametrize("queues", [2, 60])
async def test_a_pass_looks_only_at_queues_of_which_something_may_start(world: World, queues: int) -> None:
    context, scheduler, store = await started(world, queues, 2)
    rules = context.queues.rules = Asked(context.queues.policies)
    store.lines.read.clear()
    await end_one(context, "q1")
    await scheduler.run_once()
    assert {*rules.queues} <= {"q1", "*"}
    assert store.lines.read == [1]
    assert context.view.flight.of("q1") == 1
    await scheduler.run_once()
    assert {*rules.queues} <= {"q1", "*"}


async def test_what_is_read_to_tell_of_delays_is_bounded(world: World) -> None:
    context, scheduler, store = await started(world, 1, 2 + MOST_TOLD)
    for _ in range(3):
        store.lines.read.clear()
        world.clock.passed += 2
        await scheduler.run_once()
        assert store.lines.read == [MOST_TOLD]
    await context.decisions.run_once()
    assert len(await world.store.decisions.find(DecisionQuery())) == MOST_TOLD
