from hypothesis import given

from podling.core.dead_letters import MEANINGS
from podling.core.lifecycle import Cancel, EventKind, ParentUnmet, apply
from podling.core.retry import advice_for
from podling.core.task import TaskEvent
from podling.core.timeline import timeline
from tests.builders import NOW, at, build_dependent, build_task
from tests.core.histories import History, Step, histories


def types(history: History) -> list[str]:
    return [line.type for line in timeline(history.task, history.rows(), history.events)]


def test_a_life_with_a_retry_is_told_in_order() -> None:
    history = History(task=build_task(max_attempts=2))
    for step in (
        Step(kind=EventKind.ASSIGN),
        Step(kind=EventKind.STARTED),
        Step(kind=EventKind.ENDED, error_code="OOM", exit_code=137, error="too much"),
        Step(kind=EventKind.ASSIGN, seconds=10),
        Step(kind=EventKind.STARTED),
        Step(kind=EventKind.ENDED),
    ):
        history.take(step)
    assert types(history) == [
        "submitted",
        "scheduled",
        "started",
        "attempt_failed",
        "scheduled",
        "started",
        "attempt_completed",
        "completed",
    ]
    lines = timeline(history.task, history.rows(), history.events)
    failed = lines[3]
    assert failed.message == "attempt 1 failed with exit code 137 (OOM) after 1 s: too much"
    assert failed.details == {
        "nodeId": "node-1",
        "latencySeconds": 1.0,
        "exitCode": 137,
        "errorCode": "OOM",
        "retryAt": history.attempts[1].retry_at.isoformat(),  # type: ignore[union-attr]
        "advice": advice_for("OOM"),
    }
    assert lines[0].details == {
        "queue": "default",
        "priority": 0,
        "maxAttempts": 2,
        "shape": history.task.shape,
    }
    assert [line.attempt for line in lines] == [None, 1, 1, 1, 2, 2, 2, 2]


def test_the_end_of_a_dead_letter_says_why_and_what_to_do() -> None:
    history = History(task=build_task())
    for step in (
        Step(kind=EventKind.ASSIGN),
        Step(kind=EventKind.ENDED, error_code="OOM", exit_code=137, error="too much"),
    ):
        history.take(step)
    *_, attempt, end = timeline(history.task, history.rows(), history.events)
    assert attempt.details["latencySeconds"] is None, "nobody told that it started"
    assert end.details == {
        "errorCode": "OOM",
        "deadLetterReason": "MAX_ATTEMPTS_EXCEEDED",
        "meaning": MEANINGS["MAX_ATTEMPTS_EXCEEDED"],
        "failures": 1,
        "losses": 0,
        "advice": advice_for("OOM"),
    }


def test_who_ended_a_task_is_told() -> None:
    waits = build_dependent("parent")
    unwanted = apply(waits, ParentUnmet(reason="no", parent_id="parent"), NOW).task
    stopped = apply(waits, Cancel(), NOW).task
    assert [timeline(task, [], [])[-1].actor for task in (unwanted, stopped)] == ["leader", "client"]


def test_orders_refusals_and_losses_are_told_once() -> None:
    history = History(task=build_task())
    for step in (
        Step(kind=EventKind.ASSIGN),
        Step(kind=EventKind.REFUSED, error="the disk is full"),
        Step(kind=EventKind.ASSIGN, seconds=10),
        Step(kind=EventKind.CANCEL),
        Step(kind=EventKind.LOSE),
    ):
        history.take(step)
    assert types(history) == [
        "submitted",
        "scheduled",
        "refused",
        "scheduled",
        "cancel_requested",
        "attempt_lost",
        "cancelled",
    ]


def test_further_events_stand_where_they_happened() -> None:
    task = build_task()
    event = TaskEvent(
        task_id=task.task_id, at=at(5), type="throttled", actor="leader", message="cap", details={"a": 1}
    )
    lines = timeline(task, [], [event])
    assert [(line.type, line.at) for line in lines] == [("submitted", NOW), ("throttled", at(5))]
    assert lines[1].details == {"a": 1}


@given(histories)
def test_lines_are_in_order_of_time_from_submission_to_the_end(history: History) -> None:
    lines = timeline(history.task, history.rows(), history.events)
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert lines[0].type == "submitted"
    assert all(line.message and line.actor in ("client", "leader", "worker") for line in lines)
    assert sum(line.type == "scheduled" for line in lines) == len(history.attempts)
    if history.task.status.is_terminal:
        assert lines[-1].type == history.task.status
