"""The life of a task: one table of moves, and one function that makes them.

`pending → scheduled → running → completed | failed | cancelled`; terminal is final.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from podling.core import moves
from podling.core.errors import IllegalTransition, StaleAttempt
from podling.core.lifecycle_events import (
    Announce,
    Assign,
    Cancel,
    Deadline,
    DeclareLost,
    Deny,
    Event,
    Evict,
    Lose,
    ParentsMet,
    ParentUnmet,
    QueueTimeout,
    Reported,
    Resolve,
    RetryNow,
)
from podling.core.protocol import Report, ReportKind
from podling.core.retry import ErrorCode
from podling.core.task import Task, TaskStatus
from podling.core.transition import Actor, Transition, attempt_row

__all__ = [
    "TABLE",
    "Actor",
    "Announce",
    "Assign",
    "Cancel",
    "Deadline",
    "DeclareLost",
    "Deny",
    "Event",
    "EventKind",
    "Evict",
    "Lose",
    "Move",
    "ParentUnmet",
    "ParentsMet",
    "QueueTimeout",
    "Reported",
    "Resolve",
    "RetryNow",
    "Transition",
    "apply",
    "attempt_row",
    "kind_of",
]

PENDING, SCHEDULED, RUNNING = TaskStatus.PENDING, TaskStatus.SCHEDULED, TaskStatus.RUNNING
COMPLETED, FAILED, CANCELLED = TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED


class EventKind(StrEnum):
    ASSIGN = "assign"
    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"
    REFUSED = "refused"
    LOSE = "lose"
    DECLARE_LOST = "declare_lost"
    EVICT = "evict"
    CANCEL = "cancel"
    RETRY_NOW = "retry_now"
    RESOLVE = "resolve"
    QUEUE_TIMEOUT = "queue_timeout"
    DEADLINE = "deadline"
    ANNOUNCE = "announce"
    DENY = "deny"
    PARENTS_MET = "parents_met"
    PARENT_UNMET = "parent_unmet"


@dataclass(frozen=True)
class Move:
    """One line of the table. `stays` says that the status may also remain what it is."""

    actor: Actor
    sources: frozenset[TaskStatus]
    targets: frozenset[TaskStatus]
    meaning: str
    stays: bool = False

    def allows(self, source: TaskStatus, target: TaskStatus) -> bool:
        """Whether the event may take a task from `source` to `target`."""
        return source in self.sources and (target in self.targets or (self.stays and target is source))


def _move(
    actor: Actor, sources: set[TaskStatus], targets: set[TaskStatus], meaning: str, stays: bool = False
) -> Move:
    return Move(actor, frozenset(sources), frozenset(targets), meaning, stays)


TABLE: Mapping[EventKind, Move] = {
    EventKind.ASSIGN: _move(
        Actor.LEADER, {PENDING}, {SCHEDULED}, "the planner gives the next attempt to a node"
    ),
    EventKind.STARTED: _move(
        Actor.WORKER, {SCHEDULED, RUNNING}, {RUNNING}, "every container of the attempt has started"
    ),
    EventKind.UPDATED: _move(
        Actor.WORKER, {RUNNING}, set(), "a container was restarted or its health has changed", stays=True
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
        {PENDING, FAILED, CANCELLED},
        "its node is lost: retried, failed or held as it is, by `onLost`",
        stays=True,
    ),
    EventKind.DECLARE_LOST: _move(
        Actor.CLIENT,
        {SCHEDULED, RUNNING},
        {PENDING, FAILED, CANCELLED},
        "an operator says that its node is gone for good: as `lose`, without waiting for a lease",
        stays=True,
    ),
    EventKind.EVICT: _move(
        Actor.LEADER,
        {SCHEDULED, RUNNING},
        set(),
        "its node is drained and the time for it is over: its worker is told to stop it, and it goes"
        " elsewhere, charged to no budget",
        stays=True,
    ),
    EventKind.CANCEL: _move(
        Actor.CLIENT,
        {PENDING, SCHEDULED, RUNNING},
        {CANCELLED},
        "at once if no attempt is live; otherwise its worker is told to stop",
        stays=True,
    ),
    EventKind.RETRY_NOW: _move(
        Actor.CLIENT, {PENDING}, set(), "the next attempt need not wait any longer", stays=True
    ),
    EventKind.RESOLVE: _move(
        Actor.CLIENT,
        {SCHEDULED, RUNNING},
        {PENDING, COMPLETED, FAILED, CANCELLED},
        "an operator says what became of a held attempt",
    ),
    EventKind.QUEUE_TIMEOUT: _move(
        Actor.LEADER,
        {PENDING},
        {FAILED},
        "it waited longer than queueTimeoutSeconds; nothing if it has not",
        stays=True,
    ),
    EventKind.DEADLINE: _move(
        Actor.LEADER,
        {PENDING, SCHEDULED, RUNNING},
        {FAILED},
        "deadlineSeconds are over: failed, or its worker is told to stop; nothing if they are not",
        stays=True,
    ),
    EventKind.ANNOUNCE: _move(
        Actor.TASK, {SCHEDULED, RUNNING}, set(), "how far it is, or what came of it", stays=True
    ),
    EventKind.DENY: _move(Actor.LEADER, {PENDING}, {FAILED}, "the door refuses what came by SQL; at once"),
    EventKind.PARENTS_MET: _move(
        Actor.LEADER,
        {PENDING},
        set(),
        "every task that it depends on has ended as it wants, so it is due from its own time on",
        stays=True,
    ),
    EventKind.PARENT_UNMET: _move(
        Actor.LEADER,
        {PENDING},
        {CANCELLED},
        "a task that it depends on has ended in another way than it wants; nothing if it waits for none",
        stays=True,
    ),
}


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
        case DeclareLost():
            return EventKind.DECLARE_LOST
        case Evict():
            return EventKind.EVICT
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
        case Announce():
            return EventKind.ANNOUNCE
        case Deny():
            return EventKind.DENY
        case ParentsMet():
            return EventKind.PARENTS_MET
        case ParentUnmet():
            return EventKind.PARENT_UNMET


def apply(task: Task, event: Event, now: datetime, draw: float = 0.5) -> Transition:
    """Return what `event` makes of `task`.

    `now` is the wall clock, `draw` a random number in [0, 1) for the jitter of a retry.
    Raises StaleAttempt if the event speaks of another attempt than the live one, and
    IllegalTransition if the table has no such move from the task's state, or the report cannot be.
    """
    event = _remembered(task, event)
    kind = kind_of(event)
    _check(task, event)
    if task.status not in TABLE[kind].sources:
        raise _illegal(task, kind)
    transition = _apply(task, event, now, draw)
    after = transition.task
    if after is not task:
        assert after.version == task.version + 1, (kind, task, after)
        assert TABLE[kind].allows(task.status, after.status), (kind, task, after)
    return transition


def _remembered(task: Task, event: Event) -> Event:
    """What runs was started, whatever a worker says that has forgotten it: then it has ended somehow."""
    match event:
        case Reported(report=report) if task.status is RUNNING and report.kind is ReportKind.REFUSED:
            code = report.error_code or ErrorCode.UNKNOWN_EXIT
            ended = replace(report, kind=ReportKind.ENDED, error_code=code, never_started=False)
            return replace(event, report=ended)
        case Reported(report=report) if task.status is RUNNING and report.never_started:
            return replace(event, report=replace(report, never_started=False))
    return event


def _apply(task: Task, event: Event, now: datetime, draw: float) -> Transition:
    match event:
        case Assign(node_id=node_id):
            return moves.assign(task, node_id, now)
        case Reported(report=report):
            return _REPORT_MOVES[report.kind](task, report, now, draw)
        case Lose(reason=reason) | DeclareLost(reason=reason):
            return moves.lose(task, reason, now, draw)
        case Evict(reason=reason):
            return moves.evict(task, reason, now)
        case Cancel(actor=actor, reason=reason):
            return moves.cancel(task, actor, reason, now)
        case RetryNow():
            return moves.retry_now(task, now)
        case Resolve(outcome=outcome):
            return moves.resolve(task, outcome, now)
        case QueueTimeout():
            return moves.queue_timeout(task, now)
        case Deadline():
            return moves.deadline(task, now)
        case Announce(progress=progress, result=result):
            return moves.announce(task, progress, result)
        case Deny(reason=reason):
            return moves.deny(task, reason, now)
        case ParentsMet(parents=parents):
            return moves.parents_met(task, parents, now)
        case ParentUnmet(reason=reason, parent_id=parent_id):
            return moves.parent_unmet(task, reason, parent_id, now)


_REPORT_MOVES: Mapping[ReportKind, Callable[[Task, Report, datetime, float], Transition]] = {
    ReportKind.RUNNING: moves.started,
    ReportKind.UPDATE: moves.updated,
    ReportKind.ENDED: moves.ended,
    ReportKind.REFUSED: moves.refused,
}


def _check(task: Task, event: Event) -> None:
    match event:
        case Reported(report=report, node_id=node_id):
            _check_fence(task, report.attempt, node_id)
            _check_report(task, report)
        case Lose(attempt=attempt) | DeclareLost(attempt=attempt) | Evict(attempt=attempt):
            _check_fence(task, attempt, task.node_id)
        case Announce(attempt=attempt):
            _check_fence(task, attempt, task.node_id)
        case Resolve(attempt=int(attempt)):
            _check_fence(task, attempt, task.node_id)
        case Assign(attempt=int(attempt)) if attempt != task.attempt + 1:
            message = f"attempt {attempt} of task {task.task_id} was planned too late"
            raise StaleAttempt(message, details=_story(task))
        case Assign() | RetryNow() if task.waits_for_parents:
            message = "the task waits for others to end, and cannot start before; cancel it or them"
            raise IllegalTransition(message, details=_story(task))


def _check_report(task: Task, report: Report) -> None:
    codes = [report.exit_code, *(container.exit_code for container in report.containers)]
    for code in codes:
        if code is not None and not 0 <= code <= 255:
            message = f"exit code {code} cannot be; it must be from 0 to 255, or null if unknown"
            raise IllegalTransition(message, code="invalid_report", details=_story(task))


def _check_fence(task: Task, attempt: int, node_id: str | None) -> None:
    if task.attempt == attempt and task.status.is_live and task.node_id == node_id:
        return
    if task.attempt == attempt and task.status.is_terminal:
        message = f"task {task.task_id} has already ended as {task.status}"
    else:
        message = f"attempt {attempt} of task {task.task_id} is not its live one"
    raise StaleAttempt(message, details=_story(task))


_VERBS: Mapping[EventKind, str] = {
    EventKind.ASSIGN: "be given to a node",
    EventKind.STARTED: "be started",
    EventKind.UPDATED: "be updated by its worker",
    EventKind.ENDED: "end",
    EventKind.REFUSED: "be sent back by its worker",
    EventKind.LOSE: "be lost with its node",
    EventKind.DECLARE_LOST: "be declared lost",
    EventKind.EVICT: "be moved to another node",
    EventKind.CANCEL: "be cancelled",
    EventKind.RETRY_NOW: "be retried now",
    EventKind.RESOLVE: "be resolved",
    EventKind.QUEUE_TIMEOUT: "run out of its time in the queue",
    EventKind.DEADLINE: "run out of its time",
    EventKind.ANNOUNCE: "say anything of itself",
    EventKind.DENY: "be refused at the door",
    EventKind.PARENTS_MET: "be let go by its parents",
    EventKind.PARENT_UNMET: "be ended by its parents",
}


def _illegal(task: Task, kind: EventKind) -> IllegalTransition:
    message = f"a task that is {task.status} cannot {_VERBS[kind]}"
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
