"""How an attempt ends: another one follows, or the task has ended with it."""

from datetime import datetime

from podling.core.dead_letters import DeadLetterReason
from podling.core.limits import later
from podling.core.retry import ErrorCode, backoff_seconds, is_infrastructure, may_retry
from podling.core.spec import Delivery
from podling.core.task import AttemptStatus, HealthStatus, StopReason, Task, TaskStatus
from podling.core.transition import Transition, attempt_row, cut, moved
from podling.core.value import changed

_ATTEMPT_STATUS = {
    TaskStatus.COMPLETED: AttemptStatus.COMPLETED,
    TaskStatus.FAILED: AttemptStatus.FAILED,
    TaskStatus.CANCELLED: AttemptStatus.CANCELLED,
}


def fail(
    task: Task,
    error_code: str,
    error: str | None,
    now: datetime,
    draw: float,
    attempt_status: AttemptStatus = AttemptStatus.FAILED,
    *,
    never_started: bool = False,
) -> Transition:
    """Charge the failure to its budget; back to pending with what is left, failed without.

    A task that had been told to stop ends instead: no new attempt, whatever the budget.
    """
    if task.must_end:
        return after_stop(task, None if attempt_status is AttemptStatus.FAILED else attempt_status)
    lost = is_infrastructure(error_code)
    charged = changed(task, losses=task.losses + lost, failures=task.failures + (not lost))
    reason = _dead_letter_reason(charged, error_code, never_started)
    if reason is not None:
        return finish(charged, TaskStatus.FAILED, error_code, error, reason, attempt_status)
    count = charged.losses if lost else charged.failures
    wait = 0.0 if error_code == ErrorCode.NODE_LOST else backoff_seconds(task.spec.retry, count, draw)
    waiting = back_to_pending(charged, now, wait)
    row = attempt_row(charged, attempt_status, error_code, error, waiting.run_at)
    return Transition(task=changed(waiting, error_code=error_code, error=cut(error)), attempt=row)


def _dead_letter_reason(task: Task, error_code: str, never_started: bool) -> DeadLetterReason | None:
    """Why no further attempt may follow; None if one may. Budgets are charged already."""
    if task.spec.delivery is Delivery.AT_MOST_ONCE and not never_started:
        return DeadLetterReason.AT_MOST_ONCE
    if is_infrastructure(error_code):
        return DeadLetterReason.MAX_LOSSES_EXCEEDED if task.losses > task.spec.max_losses else None
    if not may_retry(task.spec.retry, error_code, task.exit_code):
        return DeadLetterReason.NON_RETRYABLE
    return DeadLetterReason.MAX_ATTEMPTS_EXCEEDED if task.failures >= task.spec.max_attempts else None


def moved_away(task: Task, now: datetime, *, never_started: bool) -> Transition:
    """Put back what was stopped because its node is drained; charged to no budget."""
    code, message = ErrorCode.DRAINED, f"stopped because node {task.node_id} is drained"
    if task.spec.delivery is Delivery.AT_MOST_ONCE and not never_started:
        reason = DeadLetterReason.AT_MOST_ONCE
        return finish(task, TaskStatus.FAILED, code, message, reason, AttemptStatus.CANCELLED)
    waiting = changed(back_to_pending(task, now), error_code=code, error=message)
    row = attempt_row(task, AttemptStatus.CANCELLED, code, message, waiting.run_at)
    return Transition(task=waiting, attempt=row)


def after_stop(task: Task, attempt_status: AttemptStatus | None = None) -> Transition:
    """End a task that had been told to stop."""
    if task.stop_reason is StopReason.CANCEL:
        message = "cancelled on request"
        return finish(task, TaskStatus.CANCELLED, ErrorCode.CANCELLED, message, None, attempt_status)
    message = f"it did not end within {task.spec.deadline_seconds or 0:g} s of its submission"
    code = ErrorCode.DEADLINE
    return finish(task, TaskStatus.FAILED, code, message, str(code), attempt_status)


def end_unstarted(task: Task, status: TaskStatus, code: ErrorCode, message: str, now: datetime) -> Transition:
    """End a task that has no live attempt."""
    over = moved(task, finished_at=now)
    return finish(over, status, code, message, None if status is TaskStatus.CANCELLED else str(code))


def finish(
    task: Task,
    status: TaskStatus,
    error_code: str | None,
    error: str | None,
    reason: str | None = None,
    attempt_status: AttemptStatus | None = None,
) -> Transition:
    """End the task, and its attempt if one is live; `reason` sends it to the dead letters."""
    finished = changed(
        task,
        status=status,
        error_code=error_code,
        error=cut(error),
        dead_letter_reason=reason,
        held=None,
    )
    row_status = attempt_status or _ATTEMPT_STATUS[status]
    return Transition(task=finished, attempt=attempt_row(finished, row_status, error_code, error))


def back_to_pending(task: Task, now: datetime, wait_seconds: float = 0.0) -> Task:
    """Return the task without its attempt, due after the wait."""
    return changed(
        task,
        status=TaskStatus.PENDING,
        run_at=later(now, wait_seconds) or now,
        node_id=None,
        scheduled_at=None,
        started_at=None,
        finished_at=None,
        containers=(),
        health_status=HealthStatus.UNKNOWN,
        held=None,
        stop_reason=None,
        stop_requested_at=None,
    )
