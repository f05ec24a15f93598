"""The loops and the committer, one pass at a time, on a clock that stands still until it is moved."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from podling.core.errors import IllegalTransition, NotFound, StaleAttempt, StaleEpoch, StoreUnavailable
from podling.core.lifecycle import Assign, Cancel, Lose, Reported
from podling.core.node import NodeStatus
from podling.core.protocol import ReportKind
from podling.core.task import Task, TaskStatus
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext, MasterOptions, build
from podling.master.loops.changes import ChangesFeed
from podling.master.loops.deadlines import Deadlines
from podling.master.loops.election import Election
from podling.master.loops.node_monitor import REST_LEASES, NodeMonitor
from podling.master.loops.peers import DEAD_AFTER_LEASES, FORGET_AFTER_LEASES, Peers
from podling.master.loops.promoter import Promoter
from podling.master.loops.scheduler import Scheduler
from podling.master.operations import nodes
from podling.store.base import Batch, Store, WriteResult
from tests.builders import NOW, build_node, build_report, build_task, seconds
from tests.master.masters import Masters

LEASE = 10.0


class ManualClock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


class Faulty:
    """A store that does what a test wants at one method, and what it always does at the others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in self.before and name not in self.after:
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            if name in self.before:
                await self.before[name]()
            answer = await real(*arguments, **named)
            if name in self.after:
                await self.after[name]()
            return answer

        return call


async def _away() -> None:
    raise StoreUnavailable("away")


class World:
    """Contexts of masters on one store, without servers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ManualClock()

    def context(self, name: str = "one", store: Any = None) -> MasterContext:
        options = MasterOptions(
            advertise_url=f"http://{name}",
            identity=name,
            master_id=f"{name}-start",
            version="0.1.0",
            lease_seconds=LEASE,
        )
        return build(options, cast(Store, store or self.store), self.clock, lambda: 0.5)

    async def leader(self, name: str = "one", store: Any = None) -> MasterContext:
        context = self.context(name, store)
        await Election(context).run_once()
        assert context.leads
        return context


@pytest.fixture
async def world(masters: Masters) -> AsyncIterator[World]:
    store = masters.make_store()
    await store.open()
    try:
        yield World(store)
    finally:
        await store.close()


async def _insert(context: MasterContext, **fields: Any) -> Task:
    task = await context.committer.insert(build_task(**fields), "hash")
    assert isinstance(task, Task)
    return task


async def _assigned(context: MasterContext, node_id: str = "node-1", **fields: Any) -> Task:
    task = await _insert(context, **fields)
    (answer,) = await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id=node_id))])
    assert isinstance(answer, Task)
    return answer


# Election


async def test_nobody_leads_so_the_first_does(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    await Election(one).run_once()
    await Election(two).run_once()
    assert (one.epoch, two.epoch) == (1, None)


async def test_a_challenger_waits_a_whole_lease_without_a_renewal(world: World) -> None:
    await world.leader("one")
    two = world.context("two")
    election = Election(two)
    await election.run_once()
    world.clock.passed += LEASE - 0.1
    await election.run_once()
    assert not two.leads
    world.clock.passed += 0.2
    await election.run_once()
    assert two.epoch == 2


async def test_a_renewal_begins_the_wait_anew(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    leading, challenging = Election(one), Election(two)
    await leading.run_once()
    for _ in range(5):
        world.clock.passed += LEASE * 0.6
        await leading.run_once()
        await challenging.run_once()
    assert (one.epoch, two.epoch) == (1, None)


async def test_a_leader_that_was_overtaken_steps_down(world: World) -> None:
    one = world.context("one")
    election = Election(one)
    await election.run_once()
    assert await world.store.take_leadership("two", await world.store.leadership()) == 2
    await election.run_once()
    assert not one.leads


async def test_a_leader_that_cannot_renew_steps_down_before_its_lease_ends(world: World) -> None:
    store = Faulty(world.store)
    one = world.context("one", store)
    election = Election(one)
    await election.run_once()
    store.before["renew_leadership"] = _away
    world.clock.passed += LEASE * 0.5
    with pytest.raises(StoreUnavailable):
        await election.run_once()
    assert one.leads
    world.clock.passed += LEASE * 0.2
    with pytest.raises(StoreUnavailable):
        await election.run_once()
    assert not one.leads


async def test_a_store_that_hangs_does_not_keep_a_leader_in_office(world: World) -> None:
    store = Faulty(world.store)
    one = world.context("one", store)
    election = Election(one)
    await election.run_once()
    world.clock.passed += LEASE * 2 / 3 - 0.05

    async def hang() -> None:
        world.clock.passed += 0.1
        await asyncio.Event().wait()

    store.before["renew_leadership"] = hang
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="in time"):
            await election.run_once()
    assert not one.leads


async def test_who_resigns_makes_room_at_once(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    election = Election(one)
    await election.run_once()
    await election.resign()
    await Election(two).run_once()
    assert (one.epoch, two.epoch) == (None, 2)


async def test_a_new_leader_prepares_before_it_leads(world: World) -> None:
    one = world.context("one")
    led_meanwhile: list[bool] = []

    async def prepare() -> None:
        led_meanwhile.append(one.leads)

    await Election(one, [prepare]).run_once()
    assert led_meanwhile == [False] and one.leads


# Node monitor


async def _monitored(world: World) -> tuple[MasterContext, NodeMonitor]:
    context = await world.leader()
    for node in (build_node("worker"), build_node("simple")):
        if node.node_id == "worker":
            number = await world.store.open_session(node)
            context.view.put_node(build_node("worker", session_no=number))
        else:
            await world.store.save_node(node)
            context.view.put_node(node)
    monitor = NodeMonitor(context, lambda _: None)
    await monitor.run_once()
    return context, monitor


def _online(context: MasterContext) -> set[str]:
    return {node.node_id for node in context.view.nodes() if node.status is NodeStatus.ONLINE}


async def test_a_silent_worker_is_lost_after_a_lease_and_a_simple_node_much_later(world: World) -> None:
    context, monitor = await _monitored(world)
    world.clock.passed += LEASE - 0.1
    await monitor.run_once()
    assert _online(context) == {"worker", "simple"}
    world.clock.passed += 0.2
    await monitor.run_once()
    assert _online(context) == {"simple"}
    assert {node.node_id: node.status for node in await world.store.load_nodes()} == {
        "worker": NodeStatus.OFFLINE,
        "simple": NodeStatus.ONLINE,
    }
    world.clock.passed += LEASE * REST_LEASES
    await monitor.run_once()
    assert _online(context) == set()


async def test_a_beat_begins_the_lease_anew(world: World) -> None:
    context, monitor = await _monitored(world)
    for _ in range(4):
        world.clock.passed += LEASE * 0.8
        assert await world.store.beat({"worker": 1}, world.clock.now()) == {"worker"}
        await monitor.run_once()
    assert "worker" in _online(context)


async def test_a_beat_in_the_last_moment_saves_the_node(world: World) -> None:
    store = Faulty(world.store)
    context = world.context("one", store)
    await Election(context).run_once()
    number = await world.store.open_session(build_node("worker"))
    context.view.put_node(build_node("worker", session_no=number))
    monitor = NodeMonitor(context, lambda _: None)
    await monitor.run_once()
    world.clock.passed += LEASE * 2

    async def beat() -> None:
        assert await world.store.beat({"worker": number}, world.clock.now())

    store.before["mark_lost"] = beat
    await monitor.run_once()
    assert _online(context) == {"worker"}


async def test_a_new_leader_waits_a_whole_lease_itself(world: World) -> None:
    await _monitored(world)
    world.clock.passed += LEASE * 3
    second = world.context("two")
    second.view.put_node(build_node("worker", session_no=1))
    election, monitor = Election(second), NodeMonitor(second, lambda _: None)
    await election.run_once()
    world.clock.passed += LEASE
    await election.run_once()
    await monitor.run_once()
    assert _online(second) == {"worker"}
    world.clock.passed += LEASE - 0.1
    await monitor.run_once()
    assert _online(second) == {"worker"}
    world.clock.passed += 0.2
    await monitor.run_once()
    assert _online(second) == set()


async def test_what_a_crash_left_undone_after_the_mark_is_done_by_the_next_pass(world: World) -> None:
    context, monitor = await _monitored(world)
    task = await _assigned(context, "worker")
    assert await world.store.mark_lost("worker", (await _beat(world, "worker")).counter, context.epoch or 0)
    await monitor.run_once()
    assert _online(context) == {"simple"}
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].status is TaskStatus.PENDING


async def _beat(world: World, node_id: str) -> Any:
    return next(beat for beat in await world.store.load_beats() if beat.node_id == node_id)


# Deadlines and starts in the future


async def test_deadlines_are_slept_for_and_kept(world: World) -> None:
    context = await world.leader()
    deadlines = Deadlines(context)
    assert await deadlines.run_once() is None
    task = await _insert(context, queue_timeout_seconds=7.0, deadline_seconds=50.0)
    assert await deadlines.run_once() == pytest.approx(7.0)
    world.clock.passed += 7.0
    await deadlines.run_once()
    ended = (await world.store.load_tasks([task.task_id]))[task.task_id]
    assert (ended.status, ended.error_code) == (TaskStatus.FAILED, "QUEUE_TIMEOUT")
    assert await deadlines.run_once() is None


async def test_starts_in_the_future_are_slept_for_and_kept(world: World) -> None:
    context = await world.leader()
    scheduler = Scheduler(context)
    promoter = Promoter(context, scheduler.wakeup)
    task = await _insert(context, run_at=NOW + seconds(9))
    assert await promoter.run_once() == pytest.approx(9.0)
    assert await world.store.ready_page(10) == []
    world.clock.passed += 9.0
    assert await promoter.run_once() is None
    assert [ready.task_id for ready in await world.store.ready_page(10)] == [task.task_id]


async def test_who_does_not_lead_touches_nothing(world: World) -> None:
    context = world.context()
    task = await _insert(context, queue_timeout_seconds=1.0)
    world.clock.passed += 100
    scheduler = Scheduler(context)
    for run_once in (
        scheduler.run_once,
        Promoter(context, scheduler.wakeup).run_once,
        Deadlines(context).run_once,
    ):
        assert await run_once() is None
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].status is TaskStatus.PENDING


# Committer


async def test_an_overtaken_leader_changes_nothing(world: World) -> None:
    context = await world.leader()
    task = await _insert(context)
    await world.store.take_leadership("two", await world.store.leadership())
    with pytest.raises(StaleEpoch):
        await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="n"))])
    context.lead(None)
    with pytest.raises(StaleEpoch):
        await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="n"))])
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].attempt == 0


async def test_every_refusal_reaches_its_own_caller(world: World) -> None:
    context = await world.leader()
    task = await _assigned(context)
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


async def test_two_masters_that_change_one_task_both_succeed(world: World) -> None:
    one, two = await world.leader(), world.context("two")
    await ChangesFeed(two).start()
    task = await _assigned(one)
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
    task = await _insert(context)
    store.after["commit"] = _away
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
    task = await _insert(context)
    store.before["commit"] = _away
    with pytest.raises(StoreUnavailable):
        await context.committer.apply(task.task_id, Cancel())
    del store.before["commit"]
    assert (await context.committer.apply(task.task_id, Cancel())).status is TaskStatus.CANCELLED


# Changes of other masters


async def test_a_follower_learns_what_the_leader_did(world: World) -> None:
    one, two = await world.leader(), world.context("two")
    feed = ChangesFeed(two)
    await feed.start()
    task = await _assigned(one)
    await feed.catch_up()
    assert two.view.task(task.task_id) == task
    lose = Lose(attempt=1, reason="gone")
    await one.committer.apply_as_leader([Happening(task.task_id, lose)])
    await feed.catch_up()
    assert two.view.task(task.task_id) is None


async def test_news_that_were_overtaken_while_they_were_loaded_are_dropped(world: World) -> None:
    """Otherwise an ended task would come back to life in the view, and keep its node's room for ever."""
    one = await world.leader()
    store = Faulty(world.store)
    two = world.context("two", store)
    feed = ChangesFeed(two)
    await feed.start()
    task = await _assigned(one)
    end = Reported(report=build_report(task, ReportKind.ENDED, exit_code=0), node_id="node-1")

    async def end_meanwhile() -> None:
        del store.after["load_tasks"]
        assert (await two.committer.apply(task.task_id, end)).status is TaskStatus.COMPLETED

    store.after["load_tasks"] = end_meanwhile
    await feed.catch_up()
    assert two.view.task(task.task_id) is None


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
    await asyncio.gather(*(_insert(context) for _ in range(100)))
    assert [len(batch.tasks) for batch in store.batches] == [100]
    assert [batch.number for batch in store.batches] == [1]


# Peers


async def test_masters_know_each_other_while_their_counters_grow(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    watching, living = Peers(one, lambda _: None), Peers(two, lambda _: None)
    for _ in range(3):
        await living.run_once()
        await watching.run_once()
        world.clock.passed += LEASE
    assert one.master_urls() == ("http://one", "http://two")
    world.clock.passed += LEASE * DEAD_AFTER_LEASES
    await watching.run_once()
    assert one.master_urls() == ("http://one",)
    await living.run_once()
    await watching.run_once()
    assert one.master_urls() == ("http://one", "http://two")


async def test_the_leader_forgets_masters_that_are_long_gone_and_they_may_come_back(world: World) -> None:
    one, two = await world.leader("one"), world.context("two")
    watching, gone = Peers(one, lambda _: None), Peers(two, lambda _: None)
    await gone.run_once()
    await watching.run_once()
    world.clock.passed += LEASE * FORGET_AFTER_LEASES
    await watching.run_once()
    assert await _master_ids(world) == {"one-start"}
    await gone.run_once()
    assert await _master_ids(world) == {"one-start", "two-start"}


async def _master_ids(world: World) -> set[str]:
    return {master.master_id for master in await world.store.load_masters()}


async def test_nodes_of_other_masters_are_taken_over_changed_and_removed(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    changed: list[str] = []
    peers = Peers(one, changed.append)
    await Peers(two, lambda _: None).run_once()
    await world.store.open_session(build_node("node-1"))
    await peers.run_once()
    assert _sessions(one) == {"node-1": 1} and changed == ["node-1"]
    await world.store.save_node(build_node("node-1", session_no=1, cordoned=True))
    await peers.run_once()
    node = one.view.node("node-1")
    assert node is not None and node.cordoned and changed == ["node-1"] * 2
    await peers.run_once()
    assert len(changed) == 2
    await world.store.remove_node("node-1")
    await peers.run_once()
    assert _sessions(one) == {}


async def test_a_cordon_never_undoes_a_session_that_began_elsewhere(world: World) -> None:
    context = world.context()
    await world.store.open_session(build_node("node-1"))
    await Peers(context, lambda _: None).load_nodes()
    await world.store.open_session(build_node("node-1"))
    assert (await nodes.cordon(context, "node-1", True)).session_no == 2
    (node,) = await world.store.load_nodes()
    assert (node.session_no, node.cordoned) == (2, True)
    assert await world.store.beat({"node-1": 2}, world.clock.now()) == {"node-1"}


def _sessions(context: MasterContext) -> Mapping[str, int]:
    return {node.node_id: node.session_no for node in context.view.nodes()}
