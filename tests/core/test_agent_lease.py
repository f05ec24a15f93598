"""The worker's rules about time: its lease, drains, and clocks that are set."""

from dataclasses import replace

import pytest

from podling.core.agent_events import Draining, LeaseRenewed, NodeDrained, StopOrdered
from podling.core.agent_instructions import Stop
from podling.core.protocol import ReportKind
from podling.core.spec import OnDisconnect, OnLost
from podling.core.task import StopReason
from tests.core.agent_model import CANCEL, KEY, LEASE_SECONDS, assignment
from tests.core.agent_world import World
from tests.core.conftest import run, told


def test_the_lease_bounds_every_grace(world: World) -> None:
    """I17: KILL before the lease ends, whatever the grace and whatever was ordered before."""
    run(world)
    world.feed(StopOrdered(items=(replace(CANCEL, grace_seconds=300.0),)))
    world.settle()
    world.pass_time(LEASE_SECONDS * 2 / 3)
    world.settle()
    world.pass_time(LEASE_SECONDS / 6)
    assert world.running() == []


def test_an_answer_that_comes_too_late_does_not_keep_containers_running(world: World) -> None:
    """I17: the beat's answer was on its way while the worker was not being run."""
    run(world)
    sent_at = world.now
    world.now += LEASE_SECONDS * 3 / 4
    world.feed(LeaseRenewed(sent_at=sent_at, lease_seconds=LEASE_SECONDS))
    world.settle()
    world.pass_time(LEASE_SECONDS / 4)
    assert world.running() == []


def test_the_rest_of_the_lease_binds_a_restarted_worker(world: World) -> None:
    """I17: it came back after two thirds, and finds no master before the end."""
    run(world)
    sent_at = world.now
    world.crash()
    world.now += LEASE_SECONDS * 3 / 4
    world.restore(lease_sent_at=sent_at)
    world.settle()
    world.pass_time(LEASE_SECONDS / 4)
    assert world.running() == []


def test_keep_outlives_the_lease(world: World) -> None:
    run(world, on_disconnect=OnDisconnect.KEEP, on_lost=OnLost.FAIL)
    world.pass_time(10 * LEASE_SECONDS)
    assert len(world.running()) == 1 and told(world, Stop) == []


def test_an_attempt_not_started_when_the_lease_ends_is_sent_back(world: World) -> None:
    world.assign(assignment())
    world.pass_time(LEASE_SECONDS)
    world.settle()
    (report,) = world.state.outbox.values()
    assert report.kind is ReportKind.REFUSED and world.starts == {}


def test_what_comes_while_the_lease_is_overdue_waits_for_its_renewal(world: World) -> None:
    world.pass_time(LEASE_SECONDS * 3 / 4)
    world.assign(assignment())
    world.settle()
    assert (world.starts, world.state.outbox) == ({}, {})
    world.renew()
    world.settle()
    assert len(world.running()) == 1


def test_draining_sends_back_what_has_not_started_and_leaves_the_rest(world: World) -> None:
    run(world)
    world.assign(assignment("t2"))
    world.feed(Draining(reason="shutting down"))
    world.settle()
    assert [(r.task_id, r.kind) for r in world.state.outbox.values()] == [("t2", ReportKind.REFUSED)]
    assert len(world.running()) == 1


@pytest.mark.parametrize("step", [5 * 3600.0, -5 * 3600.0])
def test_a_clock_that_is_set_moves_neither_timeouts_nor_the_lease(world: World, step: float) -> None:
    """I24, on the worker."""
    run(world, timeout_seconds=60.0)
    for _ in range(10):
        world.stepped += step
        world.now += 5.0
        world.feed(LeaseRenewed(sent_at=world.now, lease_seconds=LEASE_SECONDS))
        world.pass_time(0.0)
    assert world.state.attempts[KEY].order is None
    world.feed(LeaseRenewed(sent_at=world.now + 5.0, lease_seconds=LEASE_SECONDS))
    world.pass_time(10.0)
    order = world.state.attempts[KEY].order
    assert order is not None and order.reason is StopReason.TIMEOUT


def test_a_drained_node_sends_back_what_has_not_started_until_it_is_over(world: World) -> None:
    run(world)
    world.assign(assignment("t2"))
    world.feed(NodeDrained(reason="the node is drained"))
    world.assign(assignment("t3"))
    world.settle()
    sent_back = [(r.task_id, r.kind, r.error_code) for r in world.state.outbox.values()]
    assert sorted(sent_back) == [(name, ReportKind.REFUSED, "DRAINED") for name in ("t2", "t3")]
    assert len(world.running()) == 1
    world.feed(NodeDrained(reason=None))
    world.assign(assignment("t4"))
    world.settle()
    assert len(world.running()) == 2


def test_the_end_of_a_drain_does_not_undo_the_end_of_the_program(world: World) -> None:
    world.feed(Draining(reason="shutting down"))
    world.feed(NodeDrained(reason=None))
    world.assign(assignment("t1"))
    world.settle()
    (report,) = world.state.outbox.values()
    assert (report.kind, report.error) == (ReportKind.REFUSED, "shutting down")
