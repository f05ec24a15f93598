"""The worker's rules one by one; `test_agent_properties` mixes them."""

import pytest

from podling.core.agent import RECORD_AGAIN_SECONDS, held_attempts, step
from podling.core.agent_events import Condition, IntentFailed, NotNoted, Seen, StopOrdered, Swept
from podling.core.agent_instructions import Discard, Prepare, SaveLogs, Start, Stop, WriteExit
from podling.core.agent_learn import LOOK_AGAIN_SECONDS
from podling.core.protocol import AttemptKey, HeldState, Report, ReportKind, StopOrder
from podling.core.spec import Delivery, RestartPolicy
from podling.core.task import StopReason
from tests.core.agent_model import KEY, LEASE_SECONDS, assignment
from tests.core.agent_world import World
from tests.core.conftest import run, told


def end(world: World, code: int) -> Report:
    """Have the only container end, and return what the master is told."""
    (container,) = world.running()
    world.exit(container, code)
    world.settle()
    world.take_reports()
    return world.ends[KEY]


def test_the_state_before_a_step_stays_as_it_was(world: World) -> None:
    run(world)
    before, attempts = world.state, dict(world.state.attempts)
    end(world, 0)
    assert dict(before.attempts) == attempts


def test_nothing_is_made_before_the_intent_is_on_disk(world: World) -> None:
    world.assign(assignment())
    assert told(world, Prepare) == []
    world.write_one()
    assert len(told(world, Prepare)) == 1


def test_nothing_is_told_before_the_end_is_on_disk(world: World) -> None:
    run(world)
    (container,) = world.running()
    world.exit(container, 0)
    world.tell_one()
    assert len(told(world, WriteExit)) == 1
    assert not any(report.kind is ReportKind.ENDED for report in world.state.outbox.values())


def test_an_end_that_overtakes_its_start_is_one_report(world: World) -> None:
    world.assign(assignment())
    world.settle(until=lambda: bool(told(world, Start)))
    start = next(call for call in world.calls if isinstance(call.instruction, Start))
    world.have_effect(start)
    (container,) = world.running()
    world.exit(container, 0)
    world.settle()
    (report,) = world.state.outbox.values()
    assert report.kind is ReportKind.ENDED and report.started_at and report.finished_at


def test_running_not_yet_taken_gives_way_to_the_end(world: World) -> None:
    world.assign(assignment())
    world.settle()
    assert [report.kind for report in world.state.outbox.values()] == [ReportKind.RUNNING]
    (container,) = world.running()
    world.exit(container, 0)
    world.settle()
    assert [report.kind for report in world.state.outbox.values()] == [ReportKind.ENDED]


@pytest.mark.parametrize(
    ("code", "error_code"),
    [(0, None), (3, "EXIT_CODE"), (137, "SIGNAL"), (128, "EXIT_CODE"), (255, "EXIT_CODE")],
)
def test_exit_codes_have_their_error_codes(world: World, code: int, error_code: str | None) -> None:
    run(world)
    report = end(world, code)
    assert (report.exit_code, report.error_code) == (code, error_code)


def test_at_most_once_notes_the_container_before_it_starts(world: World) -> None:
    """I10: once started, it may never look as if it had not been made."""
    world.assign(assignment(delivery=Delivery.AT_MOST_ONCE))
    world.write_one()
    world.answer(world.calls[0])
    assert told(world, Start) == []
    world.write_one()
    assert len(told(world, Start)) == 1


def test_at_most_once_starts_when_the_disk_takes_notes_again(world: World) -> None:
    world.assign(assignment(delivery=Delivery.AT_MOST_ONCE))
    world.write_one()
    world.answer(world.calls[0])
    world.writes.clear()
    world.feed(NotNoted(key=KEY))
    assert told(world, Start) == []
    world.pass_time(RECORD_AGAIN_SECONDS)
    world.settle()
    assert world.running()


def test_at_most_once_is_not_made_again_when_its_container_is_gone(world: World) -> None:
    run(world, delivery=Delivery.AT_MOST_ONCE)
    world.crash()
    world.containers.clear()
    world.restore()
    world.reconcile()
    world.settle()
    world.take_reports()
    assert (world.ends[KEY].error_code, world.ends[KEY].exit_code) == ("EXTERNAL", None)
    assert not world.ends[KEY].never_started  # or the master would start it elsewhere
    assert world.starts[KEY, "main"] == 1


def test_what_may_have_run_and_is_gone_is_not_sent_back_when_the_lease_ends(world: World) -> None:
    """I10: sent back means never started."""
    run(world, delivery=Delivery.AT_MOST_ONCE)
    world.crash()
    world.containers.clear()
    world.restore(lease_sent_at=world.now)
    world.pass_time(LEASE_SECONDS)
    world.settle()
    assert world.held().final is not None
    assert (world.held().final.kind, world.held().final.never_started) == (ReportKind.ENDED, False)


def test_at_most_once_is_not_started_again_when_its_engine_has_forgotten_the_start(world: World) -> None:
    """I10: killed during a start, an engine says afterwards that the container was only made."""
    world.assign(assignment(delivery=Delivery.AT_MOST_ONCE))
    world.settle(until=lambda: bool(told(world, Start)))
    world.crash()
    world.restore()
    world.reconcile()
    world.settle()
    world.take_reports()
    assert world.starts == {}
    assert (world.ends[KEY].error_code, world.ends[KEY].never_started) == ("UNKNOWN_EXIT", False)


def test_an_assignment_after_its_end_is_answered_and_not_run(world: World) -> None:
    """I14, also after a restart."""
    run(world)
    end(world, 0)
    world.settle()
    assert world.state.attempts == {}
    world.crash()
    world.restore()
    world.assign(assignment())
    world.settle()
    assert [report.kind for report in world.state.outbox.values()] == [ReportKind.ENDED]
    assert world.starts[KEY, "main"] == 1


def test_what_was_not_started_waits_for_a_masters_word_after_a_restart(world: World) -> None:
    world.assign(assignment())
    world.write_one()
    world.crash()
    world.restore()
    world.settle()
    assert world.containers == {}
    assert held_attempts(world.state)[0].state is HeldState.STARTING
    world.reconcile()
    world.settle()
    assert world.running()


def test_a_prepared_process_leaves_no_trace_and_is_prepared_again(world: World) -> None:
    """Killed between prepare and start: its keeper never heard of it, so it cannot have run."""
    world.assign(assignment(runtime="process"))
    world.settle(until=lambda: bool(told(world, Start)) and not world.writes)
    world.crash()
    world.containers.clear()
    world.restore()
    world.reconcile()
    world.settle()
    assert world.running() and world.starts[KEY, "main"] == 1


def test_a_process_whose_spawn_was_lost_with_its_keeper_is_prepared_again(world: World) -> None:
    world.assign(assignment(runtime="process"))
    world.settle(until=lambda: bool(told(world, Start)))
    world.containers.clear()
    world.fail(next(call for call in world.calls if isinstance(call.instruction, Start)))
    world.settle()
    world.pass_time(LOOK_AGAIN_SECONDS)
    world.settle()
    assert world.running() and world.starts[KEY, "main"] == 1


def test_a_process_that_has_run_and_is_missing_is_not_run_again(world: World) -> None:
    run(world, runtime="process")
    world.order_stop(KEY)
    (stop,) = world.calls
    world.fail(stop)
    world.containers.clear()
    world.pass_time(LOOK_AGAIN_SECONDS)
    world.settle()
    world.take_reports()
    assert world.starts[KEY, "main"] == 1 and not world.ends[KEY].never_started


def test_a_stop_before_the_assignment_never_starts(world: World) -> None:
    """I13."""
    world.order_stop(KEY)
    world.assign(assignment())
    world.settle()
    world.take_reports()
    assert world.containers == {} and world.ends[KEY].never_started
    assert world.ends[KEY].stopped_by is StopReason.CANCEL


def test_a_later_attempt_waits_here_until_the_earlier_one_is_over(world: World) -> None:
    """Given up while the worker was away, and given to the same worker again."""
    run(world)
    (earlier,) = world.running()
    world.order_stop(KEY, StopReason.STALE)
    world.assign(assignment(attempt=2))
    world.settle(until=lambda: not world.writes and not world.told)
    later = AttemptKey(task_id="t1", attempt=2)
    assert (later, "main") not in world.starts and earlier in world.running()
    assert not any(instruction.key == later for instruction in told(world, Prepare))
    world.settle()
    for _ in range(2):  # its grace is over, and the lease is not
        world.renew()
        world.pass_time(5.0)
    world.settle()
    assert earlier not in world.running() and world.starts[later, "main"] == 1


def test_a_shorter_grace_takes_effect_and_the_first_reason_stays(world: World) -> None:
    run(world)
    world.order_stop(KEY)
    later = StopOrder(task_id="t1", attempt=1, reason=StopReason.DEADLINE, grace_seconds=1.0)
    world.feed(StopOrdered(items=(later,)))
    assert [stop.grace_seconds for stop in told(world, Stop)] == [10.0, 1.0]
    world.settle()
    world.pass_time(1.0)
    world.settle()
    world.take_reports()
    assert world.ends[KEY].stopped_by is StopReason.CANCEL


def test_a_full_disk_at_the_intent_sends_it_back(world: World) -> None:
    world.assign(assignment())
    world.writes.clear()
    world.feed(IntentFailed(key=KEY, error="the disk is full"))
    (report,) = world.state.outbox.values()
    assert (report.kind, report.error) == (ReportKind.REFUSED, "the disk is full")


def test_restarts_back_off_and_count(world: World) -> None:
    run(world, restart_policy=RestartPolicy.ALWAYS)
    waits = []
    for _ in range(4):
        (container,) = world.running()
        world.exit(container, 0)
        world.settle()
        at = next(at for timer, at in world.timers.items() if timer.kind == "restart")
        waits.append(at - world.now)
        while world.now < at:
            world.renew()
            world.pass_time(min(1.0, at - world.now))
        world.settle()
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert world.held().containers[0].restart_count == 4
    assert world.ends == {}


def test_containers_are_removed_only_when_all_is_safe(world: World) -> None:
    """The log is saved first; `World.have_effect` checks the rest."""
    run(world)
    (container,) = world.running()
    world.exit(container, 0)
    world.tell_one()
    while world.writes:
        world.write_one()
    world.take_reports()
    assert world.containers != {}
    (call,) = (call for call in world.calls if isinstance(call.instruction, SaveLogs))
    world.answer(call)
    world.settle()
    assert world.containers == {}


def test_unknown_containers_are_discarded(world: World) -> None:
    stranger = Seen(
        task_id="t9", attempt=1, container_name="main", container_id="c9", condition=Condition.RUNNING
    )
    world.state, instructions = step(world.state, (Swept(seen=(stranger,)),), world.moment())
    assert instructions == (Discard(seen=stranger),)
