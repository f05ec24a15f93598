"""The moves one by one. What holds for all of them is in test_lifecycle_laws."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.errors import IllegalTransition, StaleAttempt
from podling.core.lifecycle import (
    Assign,
    Cancel,
    Deadline,
    Event,
    Lose,
    QueueTimeout,
    Resolve,
    RetryNow,
    apply,
)
from podling.core.protocol import ReportKind
from podling.core.spec import Delivery, OnLost, RetryPolicy
from podling.core.task import (
    AttemptStatus,
    ContainerState,
    ContainerStatus,
    HealthStatus,
    Resolution,
    StopReason,
    Task,
    TaskStatus,
)
from tests.builders import NOW, at, build_task, ended, reported

ONCE = {"delivery": Delivery.AT_MOST_ONCE}
STEADY = RetryPolicy(base_seconds=10, jitter=0)


def after(task: Task, *events: Event, now: Any = NOW) -> Task:
    for event in events:
        task = apply(task, event, now).task
    return task


def scheduled(**fields: Any) -> Task:
    return after(build_task(**fields), Assign(node_id="node-1"))


def running(**fields: Any) -> Task:
    task = scheduled(**fields)
    return after(task, reported(task, ReportKind.RUNNING))


def lost(task: Task) -> Lose:
    return Lose(attempt=task.attempt, reason="no beat for 12 s")


def test_an_assignment_starts_with_a_clean_sheet() -> None:
    failed = after(task := running(max_attempts=2), ended(task, error_code="OOM", exit_code=137))
    assert (failed.status, failed.error_code) == (TaskStatus.PENDING, "OOM")
    again = after(failed, Assign(node_id="node-2"))
    assert (again.attempt, again.node_id, again.error_code, again.exit_code) == (2, "node-2", None, None)


def test_an_assignment_that_was_planned_for_another_attempt_is_stale() -> None:
    task = build_task()
    with pytest.raises(StaleAttempt):
        apply(task, Assign(node_id="node-1", attempt=2), NOW)
    assert after(task, Assign(node_id="node-1", attempt=1)).attempt == 1


def test_a_failure_waits_for_its_backoff_until_the_budget_is_spent() -> None:
    task = running(max_attempts=2, retry=STEADY)
    first = apply(task, ended(task, error_code="EXIT_CODE", exit_code=1), NOW)
    assert (first.task.status, first.task.run_at, first.task.failures) == (TaskStatus.PENDING, at(10), 1)
    assert first.attempt is not None
    assert (first.attempt.status, first.attempt.retry_at) == (AttemptStatus.FAILED, at(10))
    task = after(first.task, Assign(node_id="node-1"))
    last = after(task, ended(task, error_code="EXIT_CODE", exit_code=1, error="again"))
    assert (last.status, last.dead_letter_reason, last.error) == (
        TaskStatus.FAILED,
        "MAX_ATTEMPTS_EXCEEDED",
        "again",
    )


def test_losses_have_a_budget_of_their_own_and_wait_for_nothing() -> None:
    task = running(max_losses=1)
    task = after(task, lost(task))
    assert (task.status, task.losses, task.failures, task.run_at) == (TaskStatus.PENDING, 1, 0, NOW)
    task = after(task, Assign(node_id="node-2"))
    task = after(task, lost(task))
    assert (task.status, task.dead_letter_reason) == (TaskStatus.FAILED, "MAX_LOSSES_EXCEEDED")


def test_what_the_policy_does_not_retry_fails_at_once() -> None:
    task = running(max_attempts=5, retry=RetryPolicy(not_on=("exit:2",)))
    task = after(task, ended(task, error_code="EXIT_CODE", exit_code=2))
    assert (task.status, task.dead_letter_reason) == (TaskStatus.FAILED, "NON_RETRYABLE")


def test_a_bad_exit_code_is_no_success_even_without_an_error_code() -> None:
    task = running()
    assert after(task, ended(task, exit_code=3)).error_code == "EXIT_CODE"


@pytest.mark.parametrize("code", [-1, 256])
def test_an_exit_code_that_cannot_be_is_refused(code: int) -> None:
    task = running()
    with pytest.raises(IllegalTransition) as refused:
        apply(task, ended(task, exit_code=code), NOW)
    assert refused.value.code == "invalid_report"


def test_an_exit_code_that_nobody_knows_stays_unknown() -> None:
    task = running(max_losses=0)
    task = after(task, ended(task, exit_code=None, error_code="UNKNOWN_EXIT", error="nobody saw it"))
    assert (task.status, task.exit_code, task.error) == (TaskStatus.FAILED, None, "nobody saw it")


@pytest.mark.parametrize(
    ("stopped_by", "code"),
    [
        (StopReason.TIMEOUT, "TIMEOUT"),
        (StopReason.DISCONNECT, "DISCONNECTED"),
        (StopReason.CANCEL, "EXTERNAL"),
    ],
)
def test_a_stop_by_the_worker_is_no_success_whatever_the_exit_code(stopped_by: StopReason, code: str) -> None:
    task = running(max_attempts=2)
    task = after(task, ended(task, exit_code=0, stopped_by=stopped_by))
    assert (task.status, task.error_code) == (TaskStatus.PENDING, code)


# Refused


def test_a_refusal_costs_nothing_and_waits_a_moment() -> None:
    task = scheduled(retry=RetryPolicy(base_seconds=0), **ONCE)
    transition = apply(task, reported(task, ReportKind.REFUSED, error="full"), NOW)
    waiting = transition.task
    assert (waiting.status, waiting.failures, waiting.losses, waiting.run_at) == (
        TaskStatus.PENDING,
        0,
        0,
        at(1),
    )
    assert transition.attempt is not None
    assert transition.attempt.status is AttemptStatus.REFUSED


# At most once


def test_at_most_once_is_held_when_its_node_is_lost_and_goes_on_when_it_returns() -> None:
    task = scheduled(**ONCE)
    held = after(task, lost(task))
    assert (held.status, held.held) == (TaskStatus.SCHEDULED, "no beat for 12 s")
    assert apply(held, lost(held), NOW).task is held
    back = after(held, reported(held, ReportKind.RUNNING))
    assert (back.status, back.held, back.attempt) == (TaskStatus.RUNNING, None, 1)


def test_a_held_running_task_goes_on_or_ends_by_its_workers_word() -> None:
    task = running(on_lost=OnLost.HOLD)
    held = after(task, lost(task))
    assert after(held, reported(held, ReportKind.RUNNING)).held is None
    assert after(held, ended(held)).status is TaskStatus.COMPLETED
    updated = after(held, reported(held, ReportKind.UPDATE, health_status=HealthStatus.HEALTHY))
    assert (updated.held, updated.health_status) == (None, HealthStatus.HEALTHY)


def test_at_most_once_never_follows_a_failure_unless_nothing_was_started() -> None:
    task = scheduled(max_attempts=3, **ONCE)
    over = after(task, ended(task, error_code="UNKNOWN_EXIT", exit_code=None))
    assert (over.status, over.dead_letter_reason) == (TaskStatus.FAILED, "AT_MOST_ONCE")
    unstarted = ended(task, error_code="IMAGE_PULL", exit_code=None, never_started=True)
    again = after(task, unstarted)
    assert (again.status, again.failures) == (TaskStatus.PENDING, 1)


@pytest.mark.parametrize("kind", [ReportKind.REFUSED, ReportKind.ENDED])
def test_what_runs_was_started_even_if_its_worker_has_forgotten_it(kind: ReportKind) -> None:
    task = running(max_attempts=3, **ONCE)
    denied = reported(task, kind, error_code="DISCONNECTED", exit_code=None, never_started=True)
    over = after(task, denied)
    assert (over.status, over.error_code, over.dead_letter_reason) == (
        TaskStatus.FAILED,
        "DISCONNECTED",
        "AT_MOST_ONCE",
    )
    task = running()
    again = after(task, reported(task, kind, error_code="DISCONNECTED", never_started=True))
    assert (again.status, again.losses) == (TaskStatus.PENDING, 1)


def test_what_runs_and_is_sent_back_without_a_reason_has_an_unknown_exit() -> None:
    task = running(max_losses=0)
    over = after(task, reported(task, ReportKind.REFUSED))
    assert (over.status, over.error_code, over.exit_code) == (TaskStatus.FAILED, "UNKNOWN_EXIT", None)


def test_on_lost_fail_fails_at_most_once_too() -> None:
    task = running(on_lost=OnLost.FAIL, **ONCE)
    task = after(task, lost(task))
    assert (task.status, task.error_code, task.dead_letter_reason) == (
        TaskStatus.FAILED,
        "NODE_LOST",
        "NODE_LOST",
    )


# Held


@pytest.mark.parametrize(
    ("outcome", "status", "row"),
    [
        (Resolution.RETRY, TaskStatus.PENDING, AttemptStatus.LOST),
        (Resolution.COMPLETED, TaskStatus.COMPLETED, AttemptStatus.COMPLETED),
        (Resolution.FAILED, TaskStatus.FAILED, AttemptStatus.LOST),
        (Resolution.CANCELLED, TaskStatus.CANCELLED, AttemptStatus.CANCELLED),
    ],
)
def test_an_operator_resolves_what_is_held(
    outcome: Resolution, status: TaskStatus, row: AttemptStatus
) -> None:
    task = running(on_lost=OnLost.HOLD)
    transition = apply(after(task, lost(task)), Resolve(outcome=outcome), NOW)
    assert (transition.task.status, transition.task.held) == (status, None)
    assert transition.attempt is not None
    assert transition.attempt.status is row
    assert [event.type for event in transition.events] == ["resolved"]


def test_a_word_on_another_attempt_changes_nothing() -> None:
    task = running(on_lost=OnLost.HOLD)
    waiting = after(task, lost(task))
    for attempt in (waiting.attempt - 1, waiting.attempt + 1):
        with pytest.raises(StaleAttempt):
            apply(waiting, Resolve(outcome=Resolution.RETRY, attempt=attempt), NOW)
    resolved = after(waiting, Resolve(outcome=Resolution.COMPLETED, attempt=waiting.attempt))
    assert resolved.status is TaskStatus.COMPLETED
    with pytest.raises(StaleAttempt, match="already ended as completed"):
        apply(resolved, Resolve(outcome=Resolution.COMPLETED, attempt=waiting.attempt), NOW)


def test_only_what_is_held_can_be_resolved() -> None:
    task = running(on_lost=OnLost.HOLD)
    with pytest.raises(IllegalTransition):
        apply(task, Resolve(outcome=Resolution.RETRY), NOW)


@pytest.mark.parametrize(
    ("event", "status"), [(Cancel(), TaskStatus.CANCELLED), (Deadline(), TaskStatus.FAILED)]
)
def test_a_held_task_ends_at_once_for_no_worker_can_answer(event: Event, status: TaskStatus) -> None:
    task = running(on_lost=OnLost.HOLD, deadline_seconds=5.0)
    transition = apply(after(task, lost(task)), event, at(5))
    assert transition.task.status is status
    assert transition.attempt is not None
    assert transition.attempt.status is AttemptStatus.LOST


# Stops


def test_a_cancel_of_a_waiting_task_is_done_at_once() -> None:
    task = after(build_task(), Cancel(reason="not needed"))
    assert (task.status, task.error, task.dead_letter_reason) == (TaskStatus.CANCELLED, "not needed", None)


@pytest.mark.parametrize(
    "end",
    [
        {"exit_code": 0, "stopped_by": StopReason.CANCEL},
        {"exit_code": 143, "error_code": "SIGNAL"},
        {"exit_code": 143, "error_code": "SIGNAL", "stopped_by": StopReason.TIMEOUT},
    ],
)
def test_a_cancelled_task_ends_cancelled_whatever_its_worker_says_of_the_stop(end: dict[str, Any]) -> None:
    task = running(max_attempts=5)
    stopping = after(task, Cancel())
    assert (stopping.status, stopping.stop_reason) == (TaskStatus.RUNNING, StopReason.CANCEL)
    assert apply(stopping, Cancel(), NOW).task is stopping
    transition = apply(stopping, ended(stopping, **end), NOW)
    assert (transition.task.status, transition.task.error_code) == (TaskStatus.CANCELLED, "CANCELLED")
    assert transition.attempt is not None
    assert transition.attempt.status is AttemptStatus.CANCELLED


def test_a_task_that_had_completed_before_the_stop_is_completed() -> None:
    stopping = after(running(), Cancel())
    assert after(stopping, ended(stopping)).status is TaskStatus.COMPLETED


def test_a_cancel_survives_refusal_and_loss() -> None:
    stopping = after(scheduled(), Cancel())
    assert after(stopping, reported(stopping, ReportKind.REFUSED)).status is TaskStatus.CANCELLED
    assert after(stopping, lost(stopping)).status is TaskStatus.CANCELLED


def test_a_deadline_stops_a_live_task_and_ends_it_failed() -> None:
    task = running(deadline_seconds=5.0, max_attempts=9)
    assert apply(task, Deadline(), at(4)).task is task
    stopping = after(task, Deadline(), now=at(5))
    assert stopping.stop_reason is StopReason.DEADLINE
    over = after(stopping, ended(stopping, exit_code=0, stopped_by=StopReason.DEADLINE))
    assert (over.status, over.error_code, over.dead_letter_reason) == (
        TaskStatus.FAILED,
        "DEADLINE",
        "DEADLINE",
    )


def test_a_queue_timeout_counts_from_when_the_task_is_due() -> None:
    task = build_task(queue_timeout_seconds=5.0, run_at=at(100))
    assert apply(task, QueueTimeout(), at(50)).task is task
    over = after(task, QueueTimeout(), now=at(105))
    assert (over.status, over.dead_letter_reason) == (TaskStatus.FAILED, "QUEUE_TIMEOUT")
    assert over.error == "it was not given to a node within 5 s"  # whether for want of room, or by a limit


def test_retry_now_makes_a_waiting_task_due() -> None:
    task = build_task(run_at=at(100))
    assert after(task, RetryNow()).run_at == NOW
    due = build_task()
    assert apply(due, RetryNow(), NOW).task is due


# Reports


def test_a_start_told_twice_changes_nothing() -> None:
    task = running()
    assert apply(task, reported(task, ReportKind.RUNNING), at(1)).task is task


def test_start_and_end_may_come_as_one_report() -> None:
    task = scheduled()
    task = after(task, ended(task, started_at=at(1), finished_at=at(2)))
    assert (task.status, task.started_at, task.finished_at) == (TaskStatus.COMPLETED, at(1), at(2))


def test_a_report_without_a_container_id_does_not_erase_it() -> None:
    first = ContainerState(name="main", status=ContainerStatus.RUNNING, container_id="c1", restart_count=2)
    task = scheduled()
    task = after(task, reported(task, ReportKind.RUNNING, containers=(first,)))
    bare = ContainerState(name="main", status=ContainerStatus.TERMINATED, exit_code=0)
    over = after(task, ended(task, containers=(bare,)))
    assert (over.container_id, over.restart_count) == ("c1", 2)
    assert over.containers[0].status is ContainerStatus.TERMINATED


@pytest.mark.parametrize("wrong", [{"attempt": 2}, {"attempt": 0}])
def test_a_report_of_another_attempt_is_stale(wrong: dict[str, int]) -> None:
    task = running()
    with pytest.raises(StaleAttempt) as stale:
        apply(task, ended(task, **wrong), NOW)
    assert stale.value.details["attempt"] == 1


def test_a_report_after_the_end_says_that_it_has_ended() -> None:
    task = running()
    over = after(task, ended(task))
    with pytest.raises(StaleAttempt, match="already ended as completed"):
        apply(over, ended(replace(over, node_id="node-1")), NOW)


def test_running_after_completed_is_stale_too() -> None:
    task = running()
    over = after(task, ended(task))
    with pytest.raises(StaleAttempt):
        apply(over, reported(over, ReportKind.RUNNING), NOW)
