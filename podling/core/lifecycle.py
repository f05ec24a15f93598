"""The life of a task: one table of moves, and one function that makes them.

`pending → scheduled → running → completed | failed | cancelled`; terminal is final.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from podling.core.errors import IllegalTransition, StaleAttempt
from podling.core.protocol import Report, ReportKind
from podling.core.retry import ErrorCode, backoff_seconds, is_infrastructure, may_retry
from podling.core.spec import Delivery, OnLost
from podling.core.task import (
    Attempt,
    AttemptStatus,
    HealthStatus,
    StopReason,
    Task,
    TaskEvent,
    TaskStatus,
)
from podling.core.value import value

PENDING, SCHEDULED, RUNNING = TaskStatus.PENDING, TaskStatus.SCHEDULED, TaskStatus.RUNNING
COMPLETED, FAILED, CANCELLED = TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED

MAX_ERROR_CHARACTERS = 4096


class Actor(StrEnum):
    """Who may cause a move."""

    CLIENT = "client"
    LEADER = "leader"
    WORKER = "worker"


class EventKind(StrEnum):
    ASSIGN = "assign"
    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"
    REFUSED = "refused"
    LOSE = "lose"
    CANCEL = "cancel"
    RETRY_NOW = "retry_now"
    RESOLVE = "resolve"
    QUEUE_TIMEOUT = "queue_timeout"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class Move:
    """One line of the table."""

    actor: Actor
    sources: frozenset[TaskStatus]
    targets: frozenset[TaskStatus]
    meaning: str


def _move(actor: Actor, sources: set[TaskStatus], targets: set[TaskStatus], meaning: str) -> Move:
    return Move(actor, frozenset(sources), frozenset(targets), meaning)


TABLE: Mapping[EventKind, Move] = {
    EventKind.ASSIGN: _move(
        Actor.LEADER, {PENDING}, {SCHEDULED}, "the planner gives the next attempt to a node"
    ),
    EventKind.STARTED: _move(
        Actor.WORKER, {SCHEDULED, RUNNING}, {RUNNING}, "every container of the attempt has started"
    ),
    EventKind.UPDATED: _move(
        Actor.WORKER, {RUNNING}, {RUNNING}, "a container was restarted or its health has changed"
    ),
    EventKind.ENDED: _move(
        Actor.WORKER,
        {SCHEDULED, RUNNING},
        {COMPLETED, FAILED, CANCELLED, PENDING},
        "the attempt is over; back to pending if it failed with budget left",
    ),
    EventKind.REFUSED: _move(
        Actor.WORKER,
        {SCHEDULED},
        {PENDING, CANCELLED, FAILED},
        "the worker sent it back before it started; charged to no budget",
    ),
    EventKind.LOSE: _move(
        Actor.LEADER,
        {SCHEDULED, RUNNING},
        {PENDING, FAILED, CANCELLED, SCHEDULED, RUNNING},
        "its node is lost: retried, failed or held by `onLost`",
    ),
    EventKind.CANCEL: _move(
        Actor.CLIENT,
        {PENDING, SCHEDULED, RUNNING},
        {CANCELLED, SCHEDULED, RUNNING},
        "at once if no attempt is live; otherwise its worker is told to stop",
    ),
    EventKind.RETRY_NOW: _move(
        Actor.CLIENT, {PENDING}, {PENDING}, "the next attempt need not wait any longer"
    ),
    EventKind.RESOLVE: _move(
        Actor.CLIENT,
        {SCHEDULED, RUNNING},
        {PENDING, COMPLETED, FAILED, CANCELLED},
        "an operator says what became of a held attempt",
    ),
    EventKind.QUEUE_TIMEOUT: _move(
        Actor.LEADER, {PENDING}, {FAILED}, "it waited longer than queueTimeoutSeconds"
    ),
    EventKind.DEADLINE: _move(
        Actor.LEADER,
        {PENDING, SCHEDULED, RUNNING},
        {FAILED, SCHEDULED, RUNNING},
        "deadlineSeconds are over: failed, or its worker is told to stop",
    ),
}


@value
class Assign:
    node_id: str


@value
class Reported:
    """A worker's report. `node_id` must be the attempt's own node."""

    report: Report
    node_id: str


@value
class Lose:
    attempt: int
    reason: str


@value
class Cancel:
    actor: str = "client"
    reason: str = "cancelled on request"


@value
class RetryNow:
    pass


@value
class Resolve:
    """An operator's word on a held attempt: `retry`, `completed`, `failed` or `cancelled`."""

    outcome: str


@value
class QueueTimeout:
    pass


@value
class Deadline:
    pass


Event = Assign | Reported | Lose | Cancel | RetryNow | Resolve | QueueTimeout | Deadline


@value
class Transition:
    """What an event changes: the task as it shall be, its attempt's row, lines of the timeline.

    A transition whose `task` is the old one changes nothing and need not be committed.
    """

    task: Task
    attempt: Attempt | None = None
    events: tuple[TaskEvent, ...] = ()


_REPORT_KINDS = {
    ReportKind.RUNNING: EventKind.STARTED,
    ReportKind.UPDATE: EventKind.UPDATED,
    ReportKind.ENDED: EventKind.ENDED,
    ReportKind.REFUSED: EventKind.REFUSED,
}


def kind_of(event: Event) -> EventKind:
    """Return the line of the table that the event belongs to."""
    match event:
        case Reported(report=report):
            return _REPORT_KINDS[report.kind]
        case Assign():
            return EventKind.ASSIGN
        case Lose():
            return EventKind.LOSE
        case Cancel():
            return EventKind.CANCEL
        case RetryNow():
            return EventKind.RETRY_NOW
        case Resolve():
            return EventKind.RESOLVE
        case QueueTimeout():
            return EventKind.QUEUE_TIMEOUT
        case Deadline():
            return EventKind.DEADLINE


def apply(task: Task, event: Event, now: datetime, draw: float = 0.5) -> Transition:
    """Return what `event` makes of `task`.

    `now` is the wall clock, `draw` a random number in [0, 1) for the jitter of a retry.
    Raises StaleAttempt if the event speaks of another attempt than the live one, and
    IllegalTransition if the table has no such move from the task's state.
    """
    kind = kind_of(event)
    if isinstance(event, Reported):
        _check_fence(task, event.report.attempt, event.node_id)
    if isinstance(event, Lose):
        _check_fence(task, event.attempt, task.node_id)
    if task.status not in TABLE[kind].sources:
        raise _illegal(task, kind)
    transition = _apply(task, event, now, draw)
    assert transition.task.status in TABLE[kind].targets, (kind, transition.task.status)
    if transition.task is task:
        return transition
    return replace(transition, task=replace(transition.task, version=task.version + 1))


def _apply(task: Task, event: Event, now: datetime, draw: float) -> Transition:
    match event:
        case Assign(node_id=node_id):
            return _assign(task, node_id, now)
        case Reported(report=report):
            return _HANDLERS[report.kind](task, report, now, draw)
        case Lose(reason=reason):
            return _lose(task, reason, now, draw)
        case Cancel():
            return _cancel(task, event, now)
        case RetryNow():
            return _retry_now(task, now)
        case Resolve(outcome=outcome):
            return _resolve(task, outcome, now)
        case QueueTimeout():
            message = f"no node had room within {task.spec.queue_timeout_seconds:g} s"
            return _end_unstarted(task, FAILED, ErrorCode.QUEUE_TIMEOUT, message, now)
        case Deadline():
            return _deadline(task, now)


def _assign(task: Task, node_id: str, now: datetime) -> Transition:
    assigned = replace(
        task,
        status=SCHEDULED,
        attempt=task.attempt + 1,
        node_id=node_id,
        scheduled_at=now,
        started_at=None,
        finished_at=None,
        exit_code=None,
        containers=(),
        health_status=HealthStatus.UNKNOWN,
    )
    return Transition(task=assigned, attempt=attempt_row(assigned, AttemptStatus.SCHEDULED))


def _started(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    if task.status is RUNNING and task.held is None:
        return Transition(task=task)  # told twice
    running = replace(
        task,
        status=RUNNING,
        started_at=task.started_at or report.started_at or report.at,
        containers=report.containers or task.containers,
        held=None,
    )
    return Transition(task=running, attempt=attempt_row(running, AttemptStatus.RUNNING))


def _updated(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    containers = report.containers or task.containers
    if (containers, report.health_status, task.held) == (task.containers, task.health_status, None):
        return Transition(task=task)
    updated = replace(task, containers=containers, health_status=report.health_status, held=None)
    return Transition(task=updated, attempt=attempt_row(updated, AttemptStatus.RUNNING))


def _ended(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    ended = replace(
        task,
        started_at=task.started_at or report.started_at,
        finished_at=report.finished_at or report.at,
        exit_code=report.exit_code,
        containers=report.containers or task.containers,
        held=None,
    )
    if report.stopped_by is StopReason.CANCEL:
        return _finish(ended, CANCELLED, ErrorCode.CANCELLED, report.error or "cancelled on request")
    if report.stopped_by is StopReason.DEADLINE:
        return _finish(ended, FAILED, ErrorCode.DEADLINE, report.error or _deadline_message(task))
    if report.error_code is None:
        return _finish(ended, COMPLETED, None, None)
    return _fail(ended, report.error_code, report.error, now, draw)


def _refused(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    message = _cut(report.error) or "the worker sent it back before it started"
    refused = replace(task, finished_at=report.at, containers=())
    row = attempt_row(refused, AttemptStatus.REFUSED, report.error_code, message)
    line = _line(task, now, "refused", f"node {task.node_id} sent it back: {message}", Actor.WORKER)
    if task.stop_reason is not None:
        ended = _after_stop(replace(refused, error=message))
        return Transition(task=ended.task, attempt=row, events=(line,))
    wait = backoff_seconds(task.spec.retry, 1, draw)
    waiting = _back_to_pending(refused, now + timedelta(seconds=wait))
    return Transition(task=waiting, attempt=row, events=(line,))


def _lose(task: Task, reason: str, now: datetime, draw: float) -> Transition:
    lost = replace(task, finished_at=now)
    if task.stop_reason is not None:
        return _after_stop(lost, attempt_status=AttemptStatus.LOST)
    at_most_once = task.spec.delivery is Delivery.AT_MOST_ONCE
    if task.spec.on_lost is OnLost.HOLD or (at_most_once and task.spec.on_lost is OnLost.RETRY):
        return _hold(task, reason, now)
    if task.spec.on_lost is OnLost.FAIL:
        return _finish(lost, FAILED, ErrorCode.NODE_LOST, reason, "NODE_LOST", AttemptStatus.LOST)
    return _fail(lost, ErrorCode.NODE_LOST, reason, now, draw, AttemptStatus.LOST)


def _hold(task: Task, reason: str, now: datetime) -> Transition:
    if task.held is not None:
        return Transition(task=task)
    line = _line(task, now, "held", f"{reason}; waits for the node or an operator", Actor.LEADER)
    return Transition(task=replace(task, held=reason), events=(line,))


def _cancel(task: Task, event: Cancel, now: datetime) -> Transition:
    if task.status is PENDING:
        return _end_unstarted(task, CANCELLED, ErrorCode.CANCELLED, event.reason, now)
    if task.stop_reason is StopReason.CANCEL:
        return Transition(task=task)
    if task.held is not None:
        return _finish(
            replace(task, finished_at=now, held=None),
            CANCELLED,
            ErrorCode.CANCELLED,
            event.reason,
            attempt_status=AttemptStatus.LOST,
        )
    stopping = replace(task, stop_reason=StopReason.CANCEL, stop_requested_at=now)
    line = _line(task, now, "cancel_requested", event.reason, event.actor)
    return Transition(task=stopping, events=(line,))


def _retry_now(task: Task, now: datetime) -> Transition:
    if task.run_at <= now:
        return Transition(task=task)
    line = _line(task, now, "retry_requested", "the next attempt need not wait", Actor.CLIENT)
    return Transition(task=replace(task, run_at=now), events=(line,))


def _resolve(task: Task, outcome: str, now: datetime) -> Transition:
    if task.held is None:
        raise IllegalTransition(
            "the task is not held, so there is nothing to resolve", details={"status": task.status}
        )
    resolved = replace(task, finished_at=now, held=None)
    line = _line(task, now, "resolved", f"an operator resolved it as {outcome}", Actor.CLIENT)
    if outcome == "retry":
        row = attempt_row(resolved, AttemptStatus.LOST, ErrorCode.NODE_LOST, task.held)
        return Transition(task=_back_to_pending(resolved, now), attempt=row, events=(line,))
    status = TaskStatus(outcome)
    code = {COMPLETED: None, FAILED: ErrorCode.NODE_LOST, CANCELLED: ErrorCode.CANCELLED}[status]
    ended = _finish(resolved, status, code, None if code is None else task.held)
    return replace(ended, events=(line,))


def _deadline(task: Task, now: datetime) -> Transition:
    if task.status is PENDING:
        return _end_unstarted(task, FAILED, ErrorCode.DEADLINE, _deadline_message(task), now)
    if task.stop_reason is not None:
        return Transition(task=task)
    stopping = replace(task, stop_reason=StopReason.DEADLINE, stop_requested_at=now)
    line = _line(task, now, "deadline", _deadline_message(task), Actor.LEADER)
    return Transition(task=stopping, events=(line,))


_HANDLERS: Mapping[ReportKind, Callable[[Task, Report, datetime, float], Transition]] = {
    ReportKind.RUNNING: _started,
    ReportKind.UPDATE: _updated,
    ReportKind.ENDED: _ended,
    ReportKind.REFUSED: _refused,
}


def _fail(
    task: Task,
    error_code: str,
    error: str | None,
    now: datetime,
    draw: float,
    attempt_status: AttemptStatus = AttemptStatus.FAILED,
) -> Transition:
    """Charge the failure to its budget; back to pending with what is left, failed without."""
    if task.stop_reason is not None:
        return _after_stop(replace(task, error=_cut(error)), attempt_status=attempt_status)
    lost = is_infrastructure(error_code)
    charged = replace(task, losses=task.losses + lost, failures=task.failures + (not lost))
    reason = _dead_letter_reason(charged, error_code)
    if reason is not None:
        return _finish(charged, FAILED, error_code, error, reason, attempt_status)
    count = charged.losses if lost else charged.failures
    wait = 0.0 if error_code == ErrorCode.NODE_LOST else backoff_seconds(task.spec.retry, count, draw)
    retry_at = now + timedelta(seconds=wait)
    row = attempt_row(charged, attempt_status, error_code, _cut(error), retry_at)
    waiting = replace(_back_to_pending(charged, retry_at), error_code=error_code, error=_cut(error))
    return Transition(task=waiting, attempt=row)


def _dead_letter_reason(task: Task, error_code: str) -> str | None:
    """Why no further attempt may follow; None if one may. Budgets are charged already."""
    if task.spec.delivery is Delivery.AT_MOST_ONCE:
        return "AT_MOST_ONCE"
    if is_infrastructure(error_code):
        return "MAX_LOSSES_EXCEEDED" if task.losses > task.spec.max_losses else None
    if not may_retry(task.spec.retry, error_code, task.exit_code):
        return "NON_RETRYABLE"
    return "MAX_ATTEMPTS_EXCEEDED" if task.failures >= task.spec.max_attempts else None


def _after_stop(task: Task, attempt_status: AttemptStatus = AttemptStatus.FAILED) -> Transition:
    """End a task that had been told to stop: no new attempt, whatever the budget."""
    if task.stop_reason is StopReason.CANCEL:
        return _finish(task, CANCELLED, ErrorCode.CANCELLED, "cancelled on request", None, attempt_status)
    return _finish(task, FAILED, ErrorCode.DEADLINE, _deadline_message(task), "DEADLINE", attempt_status)


def _end_unstarted(
    task: Task, status: TaskStatus, code: ErrorCode, message: str, now: datetime
) -> Transition:
    """End a task that has no live attempt."""
    ended = replace(task, finished_at=now)
    finished = _finish(ended, status, code, message, None if status is CANCELLED else str(code))
    return replace(finished, attempt=None)


_ATTEMPT_STATUS = {
    COMPLETED: AttemptStatus.COMPLETED,
    FAILED: AttemptStatus.FAILED,
    CANCELLED: AttemptStatus.CANCELLED,
}


def _finish(
    task: Task,
    status: TaskStatus,
    error_code: str | None,
    error: str | None,
    reason: str | None = None,
    attempt_status: AttemptStatus | None = None,
) -> Transition:
    finished = replace(
        task,
        status=status,
        error_code=error_code,
        error=_cut(error),
        dead_letter_reason=reason,
        held=None,
    )
    row_status = attempt_status or _ATTEMPT_STATUS[status]
    return Transition(task=finished, attempt=attempt_row(finished, row_status, error_code, error))


def _back_to_pending(task: Task, run_at: datetime) -> Task:
    return replace(
        task,
        status=PENDING,
        run_at=run_at,
        node_id=None,
        scheduled_at=None,
        started_at=None,
        finished_at=None,
        containers=(),
        held=None,
    )


def attempt_row(
    task: Task,
    status: AttemptStatus,
    error_code: str | None = None,
    error: str | None = None,
    retry_at: datetime | None = None,
) -> Attempt | None:
    """Return the row of the task's current attempt; None before the first."""
    if task.attempt == 0 or task.node_id is None or task.scheduled_at is None:
        return None
    return Attempt(
        task_id=task.task_id,
        attempt=task.attempt,
        node_id=task.node_id,
        status=status,
        scheduled_at=task.scheduled_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        exit_code=task.exit_code,
        error_code=error_code,
        error=_cut(error),
        retry_at=retry_at,
        containers=task.containers,
    )


def _check_fence(task: Task, attempt: int, node_id: str | None) -> None:
    if task.attempt == attempt and task.status.is_live and task.node_id == node_id:
        return
    if task.attempt == attempt and task.status.is_terminal:
        message = f"task {task.task_id} has already ended as {task.status}"
    else:
        message = f"attempt {attempt} of task {task.task_id} is not its live one"
    raise StaleAttempt(message, details=_story(task))


def _illegal(task: Task, kind: EventKind) -> IllegalTransition:
    message = f"a task that is {task.status} cannot {kind.replace('_', ' ')}"
    if task.status.is_terminal:
        message += "; it has ended, replay it to run it again"
    return IllegalTransition(message, details=_story(task) | {"event": str(kind)})


def _story(task: Task) -> dict[str, object]:
    return {
        "taskId": task.task_id,
        "status": str(task.status),
        "attempt": task.attempt,
        "nodeId": task.node_id,
        "version": task.version,
    }


def _line(task: Task, at: datetime, type_: str, message: str, actor: str) -> TaskEvent:
    attempt = task.attempt or None
    return TaskEvent(
        task_id=task.task_id, at=at, type=type_, actor=str(actor), message=message, attempt=attempt
    )


def _deadline_message(task: Task) -> str:
    return f"it did not end within {task.spec.deadline_seconds or 0:g} s of its submission"


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:MAX_ERROR_CHARACTERS]
