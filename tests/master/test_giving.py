"""New tasks that get their node in the commit that stores them."""

import asyncio
from dataclasses import replace

import pytest

from podling.core.errors import StoreUnavailable
from podling.core.lifecycle import Cancel
from podling.core.queue import QueuePolicy
from podling.core.task import Task, TaskStatus
from podling.core.traffic import Rules
from podling.master.committer import Applied
from podling.master.inserts import Insert
from podling.store.base import Batch
from tests.builders import seconds
from tests.core.clusters import sized, wanting
from tests.master.bare_master import Leader


@pytest.fixture
async def leader() -> Leader:
    """One that has a node for ten tasks, and has found that nobody waits."""
    leader = Leader()
    await leader.lead()
    leader.put(sized("node-1"))
    await leader.scheduler.run_once()
    return leader


async def insert(leader: Leader, *tasks: Task) -> list[TaskStatus]:
    """Submit them at once; return what each has become."""
    waiting = [leader.context.committer.insert(Insert(task, None)) for task in tasks]
    answers = await asyncio.gather(*waiting)
    return [answer.status for answer in answers if isinstance(answer, Task)]


async def test_it_is_one_commit_and_told_as_two_moves(leader: Leader) -> None:
    told: list[Applied] = []
    batches: list[Batch] = []
    leader.context.feed.listen(told.extend)
    leader.store.before_commit = batches.append
    first, second = wanting({"cpu": 100}), wanting({"cpu": 100})
    assert await insert(leader, first, second) == [TaskStatus.SCHEDULED] * 2
    assert len(batches) == 1
    moves = [(change.before and change.before.status, change.after.status) for change in told]
    new = [(None, TaskStatus.PENDING), (TaskStatus.PENDING, TaskStatus.SCHEDULED)]
    assert moves == new * 2
    assert [change.after for change in told[::2]] == [first, second]
    assert (await leader.stored(first)).node_id == "node-1"
    assert not await leader.scheduler.wakeup.wait(0.0), "no pass is needed for them"


async def test_who_has_no_room_waits_as_ever_and_who_comes_next_waits_behind(leader: Leader) -> None:
    tasks = [wanting({"cpu": 100}) for _ in range(12)]
    urgent = replace(tasks[11], spec=replace(tasks[11].spec, priority=5))
    found = await insert(leader, *tasks[:11], urgent)
    assert found == [TaskStatus.SCHEDULED] * 9 + [TaskStatus.PENDING] * 2 + [TaskStatus.SCHEDULED]
    running = leader.context.view.live_tasks_on("node-1")[0]
    await leader.context.committer.apply(running.task_id, Cancel())
    leader.put(sized("node-2"))
    await leader.scheduler.run_once()
    assert (await leader.stored(tasks[9])).status is TaskStatus.SCHEDULED


async def test_who_waits_already_is_not_overtaken(leader: Leader) -> None:
    leader.put(sized("node-1", slots=1))
    first, second, third = (wanting({"cpu": 100}) for _ in range(3))
    assert await insert(leader, first) == [TaskStatus.SCHEDULED]
    assert await insert(leader, second) == [TaskStatus.PENDING]
    leader.put(sized("node-1", slots=2))
    assert await insert(leader, third) == [TaskStatus.PENDING], "the room is that of the second"
    await leader.scheduler.run_once()
    assert (await leader.stored(second)).status is TaskStatus.SCHEDULED
    assert (await leader.stored(third)).status is TaskStatus.PENDING


async def test_passes_and_submits_together_never_give_away_more_than_there_is(leader: Leader) -> None:
    for _ in range(20):
        await leader.submit(wanting({"cpu": 100}))
        await asyncio.gather(leader.scheduler.run_once(), insert(leader, wanting({"cpu": 100})))
        assert leader.context.view.running_tasks("node-1") <= 10
    assert leader.context.view.running_tasks("node-1") == 10


async def test_a_master_that_leads_no_more_stores_it_for_the_one_that_does(leader: Leader) -> None:
    await leader.store.take_leadership("two", await leader.store.leadership())
    task = wanting({"cpu": 100})
    assert await insert(leader, task) == [TaskStatus.PENDING]
    assert await leader.stored(task) == task
    leader.context.lead(None)
    assert await insert(leader, wanting({"cpu": 100})) == [TaskStatus.PENDING]


async def test_a_leader_anew_asks_first_who_waits(leader: Leader) -> None:
    await leader.store.take_leadership("two", await leader.store.leadership())
    epoch = await leader.store.take_leadership("one", await leader.store.leadership())
    leader.context.lead(epoch)
    assert await insert(leader, wanting({"cpu": 100})) == [TaskStatus.PENDING]


async def test_nothing_is_given_away_while_a_commit_is_in_doubt(leader: Leader) -> None:
    def fail(batch: Batch) -> None:
        raise StoreUnavailable("the connection broke")

    leader.store.before_commit = fail
    with pytest.raises(StoreUnavailable):
        await insert(leader, wanting({"cpu": 100}))
    leader.store.before_commit = lambda batch: None
    assert await insert(leader, wanting({"cpu": 100})) == [TaskStatus.PENDING]


@pytest.mark.parametrize("kind", ["later", "key", "policy"])
async def test_what_more_than_room_decides_about_waits_for_a_pass(leader: Leader, kind: str) -> None:
    task = wanting({"cpu": 100})
    if kind == "later":
        task = replace(task, run_at=task.run_at + seconds(60))
    elif kind == "key":
        task = replace(task, spec=replace(task.spec, concurrency_key="k"))
    else:
        leader.context.queues.rules = Rules({"default": QueuePolicy(max_in_flight=1)})
    assert await insert(leader, task) == [TaskStatus.PENDING]


async def test_an_end_asks_for_a_pass_only_where_somebody_may_want_its_room(leader: Leader) -> None:
    leader.put(sized("node-1", slots=2))
    first, second, third = (wanting({"cpu": 100}) for _ in range(3))
    await insert(leader, first, second)
    await leader.end(first)
    assert not await leader.scheduler.wakeup.wait(0.0), "nobody waits"
    assert await insert(leader, third) == [TaskStatus.SCHEDULED]
    waiting = wanting({"cpu": 100})
    assert await insert(leader, waiting) == [TaskStatus.PENDING]
    assert await leader.scheduler.wakeup.wait(0.0), "a new one waits"
    await leader.scheduler.run_once()
    await leader.end(second)
    assert await leader.scheduler.wakeup.wait(0.0), "it waits for room"
    await leader.scheduler.run_once()
    assert (await leader.stored(waiting)).status is TaskStatus.SCHEDULED
