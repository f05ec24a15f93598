"""Somebody sets a master's clock by hours: leases, drains and back-offs take no notice (I24)."""

import asyncio

import pytest

from podling.core.node import NodeStatus
from podling.core.task import StopReason, Task, TaskStatus
from podling.master.loops.deadlines import MOST_PAGES, Deadlines
from podling.master.loops.drains import Drains
from podling.master.loops.election import Election
from podling.master.loops.node_monitor import NodeMonitor
from podling.master.operations import nodes
from tests.builders import build_node
from tests.master.world import LEASE, World, assigned, insert

HOURS = [5 * 3600.0, -5 * 3600.0, 3e8, -3e8]


@pytest.mark.parametrize("step", HOURS)
async def test_a_node_is_lost_after_a_lease_and_not_before(world: World, step: float) -> None:
    context = await world.leader()
    number = await world.store.open_session(build_node())
    context.view.put_node(build_node(session_no=number))
    task = await assigned(context)
    monitor = NodeMonitor(context, lambda _: None)
    await monitor.run_once()
    world.clock.stepped += step
    world.clock.passed += LEASE - 0.1
    await monitor.run_once()
    assert context.view.nodes()[0].status is NodeStatus.ONLINE
    assert await world.store.beat({"node-1": number}, world.clock.now()) == {"node-1"}
    await monitor.run_once()
    world.clock.stepped -= 2 * step
    world.clock.passed += LEASE - 0.1
    await monitor.run_once()
    assert context.view.nodes()[0].status is NodeStatus.ONLINE
    world.clock.passed += 0.2
    await monitor.run_once()
    assert context.view.nodes()[0].status is NodeStatus.OFFLINE
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].status is TaskStatus.PENDING


@pytest.mark.parametrize("step", HOURS)
async def test_nobody_takes_over_from_a_leader_that_renews(world: World, step: float) -> None:
    one, two = world.context("one"), world.context("two")
    leading, watching = Election(one), Election(two)
    for _ in range(3):
        await leading.run_once()
        await watching.run_once()
        world.clock.stepped += step
        world.clock.passed += LEASE / 4
    assert one.leads and not two.leads
    world.clock.passed += LEASE
    await watching.run_once()
    assert two.leads


@pytest.mark.parametrize("step", HOURS)
async def test_the_deadline_of_a_drain_is_counted_by_the_leader(world: World, step: float) -> None:
    context = await world.leader()
    context.view.put_node(build_node(session_no=await world.store.open_session(build_node())))
    task = await assigned(context)
    drains = Drains(context)
    await nodes.drain(context, "node-1", 60.0)
    assert await drains.run_once() == pytest.approx(60.0)
    world.clock.stepped += step
    world.clock.passed += 59.0
    assert await drains.run_once() == pytest.approx(1.0)
    assert (await _stored(world, task.task_id)).stop_reason is None
    world.clock.passed += 1.0
    await drains.run_once()
    assert (await _stored(world, task.task_id)).stop_reason is StopReason.DRAIN


async def test_a_new_leader_counts_the_deadline_of_a_drain_anew(world: World) -> None:
    first, second = await world.leader("one"), world.context("two")
    first.view.put_node(build_node(session_no=await world.store.open_session(build_node())))
    task = await assigned(first)
    second.view.put_node(await nodes.drain(first, "node-1", 60.0))
    second.view.put_task(task)
    drains, election = Drains(second), Election(second)
    await election.run_once()
    world.clock.passed += 100.0
    await election.run_once()
    assert second.leads
    assert await drains.run_once() == pytest.approx(60.0)
    world.clock.passed += 60.0
    await drains.run_once()
    assert (await _stored(world, task.task_id)).stop_reason is StopReason.DRAIN


async def test_a_clock_set_forward_ends_no_task_before_its_time(world: World) -> None:
    context = await world.leader()
    deadlines = Deadlines(context)
    waiting = await insert(context, queue_timeout_seconds=60.0)
    limited = await insert(context, deadline_seconds=100.0)
    await deadlines.run_once()
    for _ in range(2):
        world.clock.stepped += 5 * 3600.0
        world.clock.passed += 29.0
        await deadlines.run_once()
    later = await insert(context, queue_timeout_seconds=10.0)
    for task in (waiting, limited, later):
        assert (await _stored(world, task.task_id)).status is TaskStatus.PENDING
    world.clock.passed += 10.0  # 68 s of real time
    await deadlines.run_once()
    for task in (waiting, later):
        assert (await _stored(world, task.task_id)).error_code == "QUEUE_TIMEOUT"
    assert (await _stored(world, limited.task_id)).status is TaskStatus.PENDING
    world.clock.passed += 40.0
    await deadlines.run_once()
    assert (await _stored(world, limited.task_id)).error_code == "DEADLINE"


async def test_what_a_step_made_overdue_hides_nobody_who_is(world: World) -> None:
    context = await world.leader()
    deadlines = Deadlines(context, page=4)
    patient = await asyncio.gather(*(insert(context, queue_timeout_seconds=600.0) for _ in range(100)))
    await deadlines.run_once()
    world.clock.stepped += 3600.0
    await deadlines.run_once()
    late = await insert(context, queue_timeout_seconds=10.0)
    world.clock.passed += 10.0
    passes = 101 // (4 * MOST_PAGES) + 1
    for _ in range(passes):
        assert (await _stored(world, late.task_id)).status is TaskStatus.PENDING
        assert await deadlines.run_once() is None, "it leaves the store alone until the next poll"
    assert (await _stored(world, late.task_id)).error_code == "QUEUE_TIMEOUT"
    stored = await world.store.load_tasks([task.task_id for task in patient])
    assert {task.status for task in stored.values()} == {TaskStatus.PENDING}
    world.clock.passed += 590.0
    for _ in range(passes + 1):
        await deadlines.run_once()
    stored = await world.store.load_tasks([task.task_id for task in patient])
    assert {task.error_code for task in stored.values()} == {"QUEUE_TIMEOUT"}


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_step_that_is_taken_back_changes_nothing(world: World, step: float) -> None:
    context = await world.leader()
    deadlines = Deadlines(context)
    task = await insert(context, queue_timeout_seconds=60.0)
    for way in (0.0, step, -step):
        world.clock.stepped += way
        world.clock.passed += 19.0
        await deadlines.run_once()
    assert (await _stored(world, task.task_id)).status is TaskStatus.PENDING
    world.clock.passed += 3.0
    await deadlines.run_once()
    assert (await _stored(world, task.task_id)).error_code == "QUEUE_TIMEOUT"


async def test_a_clock_set_back_makes_nobody_overdue(world: World) -> None:
    context = await world.leader()
    deadlines = Deadlines(context)
    task = await insert(context, queue_timeout_seconds=60.0)
    await deadlines.run_once()
    world.clock.stepped -= 5 * 3600.0
    await deadlines.run_once()
    assert (await _stored(world, task.task_id)).status is TaskStatus.PENDING


async def _stored(world: World, task_id: str) -> Task:
    return (await world.store.load_tasks([task_id]))[task_id]
