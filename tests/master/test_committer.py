"""What is written, refused, lost and learned from others."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from podling.core.errors import (
    IllegalTransition,
    InvalidInput,
    NotFound,
    StaleAttempt,
    StaleEpoch,
    StoreUnavailable,
)
from podling.core.lifecycle import Assign, Cancel, Lose, Reported
from podling.core.protocol import ReportKind
from podling.core.task import Task, TaskStatus
from podling.master.committer import Applied, Happening
from podling.master.inserts import Insert
from podling.master.loops.changes import ChangesFeed
from podling.store.base import Batch, Store, TaskWrite, WriteResult
from tests.builders import at, build_report, build_task
from tests.master.world import Faulty, World, assigned, away, insert


async def test_an_overtaken_leader_changes_nothing(world: World) -> None:
    context = await world.leader()
    task = await insert(context)
    await world.store.take_leadership("two", await world.store.leadership())
    with pytest.raises(StaleEpoch):
        await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="n"))])
    context.lead(None)
    with pytest.raises(StaleEpoch):
        await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="n"))])
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].attempt == 0


async def test_every_refusal_reaches_its_own_caller(world: World) -> None:
    context = await world.leader()
    task = await assigned(context)
    report = build_report(task, ReportKind.RUNNING, attempt=7)
    answers = await asyncio.gather(
        context.committer.apply("nobody", Cancel()),
        context.committer.apply(task.task_id, Reported(report=report, node_id="node-1")),
        context.committer.apply(task.task_id, Cancel()),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [NotFound, StaleAttempt, Task]
    (answer,) = await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="n"))])
    assert isinstance(answer, IllegalTransition)


@pytest.mark.parametrize("rejected", [0, 2, 6])
async def test_what_the_store_cannot_keep_is_refused_by_itself(world: World, rejected: int) -> None:
    class Picky(Faulty):
        async def commit(self, batch: Batch) -> Sequence[WriteResult]:
            if any(write.task.spec.name == "unbearable" for write in batch.tasks):
                raise InvalidInput("a value is out of the range that the database can keep")
            return await self._store.commit(batch)

    context = world.context(store=Picky(world.store))
    names = ["fine"] * 7
    names[rejected] = "unbearable"
    tasks = [build_task(name=name) for name in names]
    answers = await asyncio.gather(
        *(context.committer.insert(Insert(task, "hash")) for task in tasks), return_exceptions=True
    )
    assert [isinstance(answer, InvalidInput) for answer in answers] == [n == rejected for n in range(7)]
    stored = await world.store.load_tasks([task.task_id for task in tasks])
    assert {task.spec.name for task in stored.values()} == {"fine"} and len(stored) == 6


async def test_a_start_and_an_end_that_meet_are_one_write(world: World) -> None:
    class Watched(Faulty):
        async def commit(self, batch: Batch) -> Sequence[WriteResult]:
            written.extend(batch.tasks)
            return await self._store.commit(batch)

    written: list[TaskWrite] = []
    context = world.context(store=Watched(world.store))
    task = await assigned(await world.leader("two"))
    started = build_report(task, ReportKind.RUNNING, started_at=at(1))
    over = build_report(task, ReportKind.ENDED, exit_code=0, at=at(2), finished_at=at(2))
    answers = await asyncio.gather(
        *(
            context.committer.apply(task.task_id, Reported(report=report, node_id="node-1"))
            for report in (started, over)
        )
    )
    assert [write.task.status for write in written] == [TaskStatus.COMPLETED]
    assert {answer.status for answer in answers} == {TaskStatus.COMPLETED}
    stored = (await world.store.load_tasks([task.task_id]))[task.task_id]
    [attempt] = await world.store.load_attempts(task.task_id)
    assert (stored.started_at, stored.finished_at) == (at(1), at(2))
    assert (attempt.started_at, attempt.finished_at) == (at(1), at(2))


async def test_two_masters_that_change_one_task_both_succeed(world: World) -> None:
    one, two = await world.leader(), world.context("two")
    await ChangesFeed(two).start()
    task = await assigned(one)
    running = build_report(task, ReportKind.RUNNING)
    await two.committer.apply(task.task_id, Reported(report=running, node_id="node-1"))
    assert one.view.task(task.task_id) == task  # it has not heard of it yet
    stopping = await one.committer.apply(task.task_id, Cancel())
    assert (stopping.status, stopping.version) == (TaskStatus.RUNNING, task.version + 2)


async def test_a_commit_whose_answer_was_lost_is_learned_from_the_feed(world: World) -> None:
    """The store kept it, so the view and everybody who listens must hear of it."""
    store = Faulty(world.store)
    context = await world.leader(store=store)
    feed = ChangesFeed(context)
    await feed.start()
    heard: list[Applied] = []
    context.feed.listen(heard.extend)
    task = await insert(context)
    store.after["commit"] = away
    with pytest.raises(StoreUnavailable):
        await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="n"))])
    del store.after["commit"]
    assert context.view.task(task.task_id) is None
    await feed.run_once()
    known = context.view.task(task.task_id)
    assert known is not None and known.node_id == "n"
    assert [item.after.status for item in heard] == [TaskStatus.PENDING, TaskStatus.SCHEDULED]
    await feed.run_once()
    assert len(heard) == 2


async def test_a_commit_that_failed_is_not_reported_as_done(world: World) -> None:
    store = Faulty(world.store)
    context = await world.leader(store=store)
    task = await insert(context)
    store.before["commit"] = away
    with pytest.raises(StoreUnavailable):
        await context.committer.apply(task.task_id, Cancel())
    del store.before["commit"]
    assert (await context.committer.apply(task.task_id, Cancel())).status is TaskStatus.CANCELLED


# Changes of other masters


async def test_a_follower_learns_what_the_leader_did(world: World) -> None:
    one, two = await world.leader(), world.context("two")
    feed = ChangesFeed(two)
    await feed.start()
    task = await assigned(one)
    await feed.catch_up()
    assert two.view.task(task.task_id) == task
    lose = Lose(attempt=1, reason="gone")
    await one.committer.apply_as_leader([Happening(task.task_id, lose)])
    await feed.catch_up()
    assert two.view.task(task.task_id) is None


async def test_new_tasks_of_others_are_read_by_the_leader_alone(world: World) -> None:
    store = Faulty(world.store)
    leader, follower, other = await world.leader(), world.context("two", store), world.context("three")
    heard: list[Applied] = []
    leader.feed.listen(heard.extend)
    feeds = [ChangesFeed(leader), ChangesFeed(follower)]
    for feed in feeds:
        await feed.start()
    task = await insert(other)
    store.before["load_tasks"] = away
    for feed in feeds:
        await feed.catch_up()
    assert [item.after for item in heard] == [task]
    await other.committer.apply(task.task_id, Cancel())
    with pytest.raises(StoreUnavailable):  # everybody has to know that it ended
        await feeds[1].catch_up()


async def test_news_that_were_overtaken_while_they_were_loaded_are_dropped(world: World) -> None:
    """Otherwise an ended task would come back to life in the view, and keep its node's room for ever."""
    one = await world.leader()
    store = Faulty(world.store)
    two = world.context("two", store)
    feed = ChangesFeed(two)
    await feed.start()
    task = await assigned(one)
    end = Reported(report=build_report(task, ReportKind.ENDED, exit_code=0), node_id="node-1")

    async def end_meanwhile() -> None:
        del store.after["load_tasks"]
        assert (await two.committer.apply(task.task_id, end)).status is TaskStatus.COMPLETED

    store.after["load_tasks"] = end_meanwhile
    await feed.catch_up()
    assert two.view.task(task.task_id) is None


async def test_the_late_answer_to_a_change_that_others_went_past_is_dropped(world: World) -> None:
    """Otherwise a task that waits again would be on its node for the view, and be placed nowhere for ever."""
    store = Faulty(world.store)
    one, two = await world.leader(store=store), world.context("two")
    feed = ChangesFeed(one)
    await feed.start()
    await ChangesFeed(two).start()
    task = await insert(one)
    heard: list[Applied] = []
    one.feed.listen(heard.extend)

    async def lose_meanwhile() -> None:
        del store.after["commit"]
        lost = await two.committer.apply(task.task_id, Lose(attempt=1, reason="gone"))
        assert lost.status is TaskStatus.PENDING
        await feed.catch_up()

    store.after["commit"] = lose_meanwhile
    (answer,) = await one.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="node-1"))])
    assert isinstance(answer, Task)
    assert one.view.task(task.task_id) is None
    assert [change.after.version for change in heard] == [answer.version + 1]


class Recorded:
    """Remembers batches of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.batches: list[Batch] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        self.batches.append(batch)
        return await self._store.commit(batch)


async def test_what_is_asked_at_once_is_written_at_once(world: World) -> None:
    store = Recorded(world.store)
    context = await world.leader(store=store)
    await asyncio.gather(*(insert(context) for _ in range(100)))
    assert [len(batch.tasks) for batch in store.batches] == [100]
    assert [batch.number for batch in store.batches] == [1]
