"""The loops, one pass at a time."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest

from podling.core.lifecycle import Cancel
from podling.core.node import NodeStatus
from podling.core.task import TaskStatus
from podling.master.context import MasterContext
from podling.master.loops.deadlines import Deadlines
from podling.master.loops.election import Election
from podling.master.loops.node_monitor import REST_LEASES, NodeMonitor
from podling.master.loops.peers import DEAD_AFTER_LEASES, FORGET_AFTER_LEASES, PAGE, Peers
from podling.master.loops.promoter import Promoter
from podling.master.loops.retention import AGAIN_SECONDS, Retention
from podling.master.loops.scheduler import Scheduler
from podling.master.operations import nodes
from podling.store.ports.maintained import Forgotten, Maintained
from tests.builders import NOW, build_node, seconds
from tests.master.world import LEASE, Faulty, World, assigned, insert

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


async def test_nobody_is_lost_by_a_pass_that_outlived_its_reign(world: World) -> None:
    store = Faulty(world.store)
    context = await world.leader("one", store)
    await world.store.open_session(build_node("worker"))
    context.view.put_node(build_node("worker", session_no=1))
    monitor = NodeMonitor(context, lambda _: None)
    await monitor.run_once()
    world.clock.passed += LEASE * 2

    async def step_down() -> None:
        context.lead(None)

    store.after["load_beats"] = step_down
    await monitor.run_once()
    assert _online(context) == {"worker"}
    assert not (await _beat(world, "worker")).lost


async def test_what_a_crash_left_undone_after_the_mark_is_done_by_the_next_pass(world: World) -> None:
    context, monitor = await _monitored(world)
    task = await assigned(context, "worker")
    assert await world.store.mark_lost("worker", (await _beat(world, "worker")).counter, context.epoch or 0)
    await monitor.run_once()
    assert _online(context) == {"simple"}
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].status is TaskStatus.PENDING


async def _beat(world: World, node_id: str) -> Any:
    return next(beat for beat in await world.store.load_beats() if beat.node_id == node_id)


# Retention


async def test_ended_tasks_go_after_the_time_that_the_operator_set(world: World) -> None:
    context = await world.leader()
    waiting, gone = await insert(context), await insert(context)
    await context.committer.apply(gone.task_id, Cancel())
    retention = Retention(context)
    await retention.run_once()
    assert set(await world.store.load_tasks([gone.task_id])) == {gone.task_id}
    context.options = replace(context.options, keep_ended=timedelta(0))
    await retention.run_once()
    assert set(await world.store.load_tasks([waiting.task_id, gone.task_id])) == {waiting.task_id}


async def test_what_one_pass_had_no_time_for_is_taken_up_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = await world.leader()
    retention = Retention(context)
    assert await retention.run_once() is None
    monkeypatch.setattr(context.store, "maintain", partial(_leave_some, context.store.maintain))
    assert await retention.run_once() == AGAIN_SECONDS


@pytest.mark.parametrize(
    ("part", "name"), [("tokens", "forget_ended"), ("audit", "forget"), ("decisions", "prune")]
)
async def test_what_is_left_of_any_kind_is_taken_up_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, part: str, name: str
) -> None:
    context = await world.leader()
    left = AsyncMock(return_value=Forgotten(removed=1000, is_complete=False))
    monkeypatch.setattr(getattr(context.store, part), name, left)
    assert await Retention(context).run_once() == AGAIN_SECONDS
    left.assert_awaited_once()


async def _leave_some(maintain: Any, keep_ended: timedelta) -> Maintained:
    await maintain(keep_ended)
    return Maintained(is_complete=False)


# Deadlines and starts in the future


async def test_deadlines_are_slept_for_and_kept(world: World) -> None:
    context = await world.leader()
    deadlines = Deadlines(context)
    assert await deadlines.run_once() is None
    task = await insert(context, queue_timeout_seconds=7.0, deadline_seconds=50.0)
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
    task = await insert(context, run_at=NOW + seconds(9))
    assert await promoter.run_once() == pytest.approx(9.0)
    assert await world.store.ready_page(10) == []
    world.clock.passed += 9.0
    assert await promoter.run_once() is None
    assert [ready.task_id for ready in await world.store.ready_page(10)] == [task.task_id]


async def test_who_does_not_lead_touches_nothing(world: World) -> None:
    context = world.context()
    task = await insert(context, queue_timeout_seconds=1.0)
    world.clock.passed += 100
    scheduler = Scheduler(context)
    for run_once in (
        scheduler.run_once,
        Promoter(context, scheduler.wakeup).run_once,
        Deadlines(context).run_once,
    ):
        assert await run_once() is None
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].status is TaskStatus.PENDING


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
    await world.store.set_service("node-1", cordoned=True, drain=None)
    await peers.run_once()
    node = one.view.node("node-1")
    assert node is not None and node.cordoned and changed == ["node-1"] * 2
    await peers.run_once()
    assert len(changed) == 2
    await world.store.remove_node("node-1")
    await peers.run_once()
    assert _sessions(one) == {}


async def test_of_many_nodes_only_those_are_read_again_that_have_changed(world: World) -> None:
    read: list[str] = []

    class Counting(Faulty):
        async def load_nodes(self, **wanted: Any) -> Any:
            read.extend(wanted["node_ids"])
            return await world.store.load_nodes(**wanted)

    context = world.context(store=Counting(world.store))
    for number in range(PAGE + 1):
        await world.store.open_session(build_node(f"node-{number}"))
    peers = Peers(context, lambda _: None)
    await peers.load_nodes()
    assert len(read) == len(set(read)) == len(context.view.nodes()) == PAGE + 1
    await peers.load_nodes()
    assert len(read) == PAGE + 1
    await world.store.open_session(build_node("node-7"))
    await world.store.beat({"node-8": 1}, world.clock.now())
    context.view.put_node(build_node("node-9", session_no=1, labels={"not": "stored"}))
    await peers.load_nodes()
    assert set(read[PAGE + 1 :]) == {"node-7", "node-9"}
    node = context.view.node("node-9")
    assert node is not None and not node.labels and _sessions(context)["node-7"] == 2


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
