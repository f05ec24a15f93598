"""What of the wall clock's way was no time at all."""

from datetime import timedelta

from podling.kit.steps import LEAST_SECONDS, WallSteps
from tests.builders import at
from tests.master.world import ManualClock

HOUR = 3600.0


def since(steps: WallSteps, start: float) -> float:
    return steps.since(at(start)).total_seconds()


def watched(*ways: float) -> WallSteps:
    """Return what was seen of a clock that runs 10 s before each of these steps and 10 s after the last."""
    clock = ManualClock()
    steps = WallSteps(clock)
    for way in ways:
        clock.passed += 10.0
        steps.observe()
        clock.stepped += way
        steps.observe()
    clock.passed += 10.0
    steps.observe()
    return steps


def test_a_step_forward_is_no_time_for_who_began_before() -> None:
    steps = watched(HOUR)
    assert since(steps, -1e9) == since(steps, 10) == HOUR
    assert since(steps, HOUR + 10.1) == since(steps, 1e6) == 0


def test_what_a_step_forward_passed_over_began_when_it_came() -> None:
    assert since(watched(HOUR), 10 + HOUR / 4) == HOUR * 3 / 4


def test_drift_is_no_step() -> None:
    steps = watched(LEAST_SECONDS - 1, 1 - LEAST_SECONDS)
    assert not steps.any
    assert since(steps, 0) == 0


def test_a_step_back_and_its_correction_cancel_each_other() -> None:
    steps = watched(-HOUR, HOUR)
    assert steps.any
    assert since(steps, -1e9) == since(steps, 5) == since(steps, 30) == 0
    assert since(steps, 15 - HOUR) == HOUR  # seen twice: it may have begun while the clock was wrong


def test_a_step_forward_and_its_correction_cancel_each_other() -> None:
    steps = watched(HOUR, -HOUR)
    assert since(steps, -1e9) == since(steps, 9) == since(steps, 25) == 0


def test_a_clock_set_back_and_then_too_far_counts_the_rest() -> None:
    assert since(watched(-HOUR, 3 * HOUR), -1e9) == 2 * HOUR


def test_nobody_is_said_to_have_waited_longer_than_the_clock_shows() -> None:
    assert watched(-HOUR).since(at(0)) == timedelta()
