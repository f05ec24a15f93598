"""What the leader's loops do in a single pass."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from podling.core.access import LOCAL
from podling.core.errors import StaleEpoch, StoreUnavailable, Unavailable
from podling.core.lifecycle import Cancel
from podling.core.task import Task, TaskStatus
from podling.core.view import View, WhyNot
from podling.master.committer import MOST_PER_TURN, MOST_WAITING, Happening
from podling.master.drafts import DraftPlan
from podling.master.inserts import Insert
from podling.master.loops.blocked import LEARN_SECONDS, MOST_UNBLOCKED, BlockedShapes
from podling.master.loops.deadlines import Deadlines
from podling.master.loops.lines import PAGE
from podling.master.operations import tasks
from podling.master.operations.admission import Entry
from podling.store.base import Batch
from tests.builders import ended
from tests.core.clusters import sized, wanting
from tests.master.bare_master import EPOCH, Leader, WatchedStore

ENTRY = Entry(actor=LOCAL)


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
    assert (await leader.stored(fits)).status is TaskStatus.SCHEDULED


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
    assert (await leader.stored(task)).status is TaskStatus.PENDING


async def test_a_pass_of_a_leader_that_was_replaced_fails(leader: Leader) -> None:
    leader.put(sized("node-1"))
    await leader.scheduler.run_once()
    task = wanting({"cpu": 100})
    await leader.submit(task)
    await leader.store.take_leadership("two", await leader.store.leadership())
    with pytest.raises(StaleEpoch):
        await leader.scheduler.run_once()
    assert (await leader.stored(task)).status is TaskStatus.PENDING


async def test_new_tasks_are_refused_while_too_many_wait(leader: Leader) -> None:
    context = leader.context
    waiting = [context.committer.insert(Insert(wanting(), "h")) for _ in range(MOST_WAITING)]
    with pytest.raises(Unavailable) as refusal:
        await context.committer.insert(Insert(wanting(), "h"))
    assert refusal.value.code == "overloaded"
    stored = await asyncio.gather(*waiting)
    assert len(stored) == MOST_WAITING
    await context.committer.insert(Insert(wanting(), "h"))


class CountingView(View):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def why_blocked(self, task: Task, now: float | None = None) -> WhyNot | None:
        self.asked.append(task.shape)
        return super().why_blocked(task, now)


async def test_a_list_looks_for_room_once_per_shape(leader: Leader) -> None:
    view = leader.context.view = CountingView()
    view.put_node(sized("node-1"))
    big, small = ([wanting({"cpu": cpu}) for _ in range(100)] for cpu in (9000, 100))
    told = tasks.scheduling_errors(leader.context, [*big, *small])
    assert told[:100] == [told[0]] * 100 and "insufficient cpu" in (told[0] or "")
    assert told[100:] == [None] * 100
    assert sorted(view.asked) == sorted({big[0].shape, small[0].shape})


async def test_what_comes_while_nobody_waits_is_placed_before_the_store_is_asked(leader: Leader) -> None:
    leader.put(sized("node-1"))
    await leader.scheduler.run_once()  # finds that nobody waits
    task = wanting({"cpu": 100})
    await leader.context.committer.insert(Insert(task, "hash"))
    found: list[TaskStatus] = []
    leader.store.before_page = lambda: found.append(
        TaskStatus.SCHEDULED if leader.context.view.task(task.task_id) else TaskStatus.PENDING
    )
    await leader.scheduler.run_once()
    assert found[0] is TaskStatus.SCHEDULED


async def test_of_a_shape_that_had_no_room_the_most_urgent_comes_first_and_only_what_fits(
    leader: Leader,
) -> None:
    leader.put(sized("node-1", slots=1))
    waiting = [wanting({"cpu": 100}) for _ in range(700)]
    waiting = [replace(task, spec=replace(task.spec, priority=n % 100)) for n, task in enumerate(waiting)]
    await leader.submit(*waiting)
    await leader.scheduler.run_once()  # one runs, and those that filled whole pages are blocked
    most_urgent = [task for task in waiting if task.spec.priority == 99]
    [running] = leader.context.view.live_tasks_on("node-1")
    assert running.task_id in {task.task_id for task in most_urgent}
    ready_before = len(await leader.store.ready_page(1000))
    await leader.context.committer.apply(running.task_id, ended(running))
    await leader.scheduler.run_once()
    [following] = leader.context.view.live_tasks_on("node-1")
    assert following.task_id in {task.task_id for task in most_urgent} - {running.task_id}
    assert len(await leader.store.ready_page(1000)) == ready_before


async def test_a_new_leader_goes_on_with_what_the_last_one_had_blocked(leader: Leader) -> None:
    big = [wanting({"cpu": 9000}) for _ in range(600)]
    leader.put(sized("node-1"))
    await leader.submit(*big)
    await leader.scheduler.run_once()
    assert len(await leader.store.ready_page(1000)) < 600
    successor = Leader(leader.store, "two")
    epoch = await leader.store.take_leadership("two", await leader.store.leadership())
    successor.context.lead(epoch)
    successor.put(sized("node-1"))
    await successor.scheduler.run_once()
    assert len(await leader.store.ready_page(1000)) < 600  # it need not be found out once more
    successor.put(sized("node-2", cpu=90_000))
    await successor.scheduler.run_once()
    assert successor.context.view.running_tasks("node-2") == 10


async def test_a_block_whose_answer_was_lost_strands_nobody(leader: Leader) -> None:
    async def block(task_ids: Sequence[str], epoch: int) -> None:
        await WatchedStore.block(leader.store, task_ids, epoch)
        raise StoreUnavailable("the connection broke")

    leader.store.block = block  # type: ignore[method-assign]
    leader.put(sized("node-1", slots=1))
    await leader.submit(*(wanting({"cpu": 100}) for _ in range(600)))
    with pytest.raises(StoreUnavailable):
        await leader.scheduler.run_once()
    del leader.store.block
    leader.put(sized("node-2", slots=1000, cpu=1_000_000))
    await leader.scheduler.run_once()
    assert leader.context.view.running_tasks("node-2") == 599


async def test_what_is_blocked_unknown_to_the_leader_is_found_after_a_while(leader: Leader) -> None:
    leader.put(sized("node-1"))
    await leader.scheduler.run_once()
    task = wanting({"cpu": 100})
    await leader.submit(task)
    await leader.store.block([task.task_id], EPOCH)
    await leader.scheduler.run_once()
    assert (await leader.stored(task)).status is TaskStatus.PENDING
    leader.clock.seconds += LEARN_SECONDS
    await leader.scheduler.run_once()
    assert (await leader.stored(task)).status is TaskStatus.SCHEDULED


async def test_a_pass_puts_back_a_bounded_number_and_the_next_one_follows_at_once(leader: Leader) -> None:
    leader.put(sized("node-1", slots=1))
    await leader.submit(*(wanting({"cpu": 10}) for _ in range(MOST_UNBLOCKED + 700)))
    await leader.scheduler.run_once()
    leader.put(sized("node-2", slots=9000, cpu=1_000_000))
    assert await leader.scheduler.run_once() == 0.0
    assert leader.context.view.running_tasks("node-2") < MOST_UNBLOCKED + 699
    assert await leader.scheduler.run_once() is None
    assert leader.context.view.running_tasks("node-2") == MOST_UNBLOCKED + 699


async def test_more_of_what_fits_nowhere_is_no_reason_to_look_again_until_it_fills_a_page(
    leader: Leader,
) -> None:
    scheduler, insert = leader.scheduler, leader.context.committer.insert
    leader.put(sized("node-1"))
    await insert(Insert(wanting({"cpu": 9000}), None))
    await scheduler.run_once()
    await scheduler.wakeup.wait(0)
    await insert(Insert(wanting({"cpu": 9000}), None))
    assert not await scheduler.wakeup.wait(0)
    fits = wanting({"cpu": 100})
    await insert(Insert(fits, None))
    assert await scheduler.wakeup.wait(0)
    await scheduler.run_once()
    assert (await leader.stored(fits)).status is TaskStatus.SCHEDULED
    await scheduler.wakeup.wait(0)
    await asyncio.gather(*(insert(Insert(wanting({"cpu": 9000}), None)) for _ in range(PAGE)))
    assert await scheduler.wakeup.wait(0)
    await scheduler.run_once()
    assert len(await leader.store.ready_page(1000)) < PAGE


async def test_what_is_submitted_to_a_full_cluster_is_blocked_from_the_start_and_placed_later(
    leader: Leader,
) -> None:
    spec = wanting({"cpu": 9000}).spec
    leader.put(sized("node-1"))
    await tasks.submit(leader.context, spec, ENTRY)
    await leader.scheduler.run_once()
    await leader.scheduler.wakeup.wait(0)
    await tasks.submit(leader.context, spec, ENTRY)
    assert not await leader.scheduler.wakeup.wait(0)
    assert len(await leader.store.ready_page(10)) == len(await leader.store.blocked_shapes()) == 1
    leader.put(sized("node-2", cpu=18_000))
    await leader.scheduler.run_once()
    assert leader.context.view.running_tasks("node-2") == 2


async def test_what_follows_a_page_that_was_blocked_is_blocked_from_the_start(leader: Leader) -> None:
    leader.put(sized("node-1"))
    await leader.submit(*(wanting({"cpu": 9000}) for _ in range(PAGE)))
    await leader.scheduler.run_once()
    await tasks.submit(leader.context, wanting({"cpu": 9000}).spec, ENTRY)
    assert list(await leader.store.ready_page(10)) == []
    leader.put(sized("node-2", cpu=18_000))
    await leader.scheduler.run_once()
    assert leader.context.view.running_tasks("node-2") == 2


async def test_what_comes_during_a_pass_over_a_full_cluster_is_blocked_from_the_start(
    leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, ready_page = wanting({"cpu": 9000}).spec, leader.store.ready_page
    leader.put(sized("node-1"))
    await tasks.submit(leader.context, spec, ENTRY)
    await leader.scheduler.run_once()

    async def read_while_one_comes(limit: int, skip_task_ids: Sequence[str] = ()) -> Sequence[Task]:
        page = await ready_page(limit, skip_task_ids)
        await tasks.submit(leader.context, spec, ENTRY)
        return page

    monkeypatch.setattr(leader.store, "ready_page", read_while_one_comes)
    await leader.scheduler.run_once()
    assert len(await ready_page(10)) == 1
    monkeypatch.undo()
    leader.put(sized("node-2", cpu=18_000))
    await leader.scheduler.run_once()
    assert leader.context.view.running_tasks("node-2") == 2


async def test_what_was_blocked_from_the_start_while_room_came_is_looked_at_again(leader: Leader) -> None:
    spec = wanting({"cpu": 9000}).spec
    leader.put(sized("node-1"))
    await tasks.submit(leader.context, spec, ENTRY)
    await leader.scheduler.run_once()
    full_for = leader.context.full_for
    leader.put(sized("node-2", cpu=18_000))
    await leader.scheduler.run_once()  # there is room for all that are known
    await leader.scheduler.wakeup.wait(0)
    leader.context.full_for = full_for
    submitted = asyncio.create_task(tasks.submit(leader.context, spec, ENTRY))
    await asyncio.sleep(0)
    leader.context.full_for = frozenset()  # as after that pass, before the commit
    await submitted
    assert await leader.scheduler.wakeup.wait(0)
    await leader.scheduler.run_once()
    assert leader.context.view.running_tasks("node-2") == 2


async def test_what_is_blocked_while_the_store_puts_others_back_is_not_forgotten(
    leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader.put(sized("node-1", cpu=9000))
    task = wanting({"cpu": 9000})
    leader.context.view.requirement(task)
    shapes, unblock = BlockedShapes(leader.context), leader.store.unblock

    async def unblock_and_block(rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        found = await unblock(rooms, epoch)
        await leader.submit(task)
        await shapes.block([task])
        return found

    monkeypatch.setattr(leader.store, "unblock", unblock_and_block)
    shapes.know(task.shape)
    assert (await shapes.unblock()).tasks == 0
    monkeypatch.undo()
    assert (await shapes.unblock()).tasks == 1


async def test_what_ends_is_a_reason_to_look_again_at_what_had_no_room(leader: Leader) -> None:
    leader.put(sized("node-1", slots=1))
    waiting = [wanting({"cpu": 100}) for _ in range(2)]
    await leader.submit(*waiting)
    await leader.scheduler.run_once()
    [running] = leader.context.view.live_tasks_on("node-1")
    await leader.scheduler.wakeup.wait(0)
    await leader.context.committer.apply(running.task_id, ended(running))
    assert await leader.scheduler.wakeup.wait(0)
    await leader.scheduler.run_once()
    [following] = leader.context.view.live_tasks_on("node-1")
    assert following.task_id != running.task_id


async def test_what_comes_while_others_wait_takes_its_turn(leader: Leader) -> None:
    leader.put(sized("node-1"))
    waiting = wanting({"cpu": 9000})
    await leader.submit(waiting)
    await leader.scheduler.run_once()  # finds one that waits
    task = wanting({"cpu": 100})
    await leader.context.committer.insert(Insert(task, "hash"))
    found: list[bool] = []
    leader.store.before_page = lambda: found.append(leader.context.view.task(task.task_id) is None)
    await leader.scheduler.run_once()
    assert found[0]
    assert (await leader.stored(task)).status is TaskStatus.SCHEDULED


async def test_others_have_a_turn_while_a_large_batch_is_decided(
    leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [wanting({"cpu": 10}) for _ in range(3 * MOST_PER_TURN)]
    await leader.submit(*given)
    turn, decided, happen = 0, Counter[int](), DraftPlan.happen

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def counted(plan: DraftPlan, index: int, item: Happening) -> None:
        decided[turn] += 1
        happen(plan, index, item)

    monkeypatch.setattr(DraftPlan, "happen", counted)
    others = asyncio.create_task(take_turns())
    answers = await leader.context.committer.report_all([Happening(task.task_id, Cancel()) for task in given])
    others.cancel()
    assert all(isinstance(answer, Task) for answer in answers)
    assert sum(decided.values()) == len(given)
    assert max(decided.values()) <= MOST_PER_TURN
