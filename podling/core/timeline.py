"""Everything that happened to a task, told from its own and its attempts' times and the events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from itertools import groupby
from typing import Any

from podling.core.dead_letters import MEANINGS
from podling.core.decision import Decision
from podling.core.page import Place
from podling.core.retry import ErrorCode, advice_for
from podling.core.schedule import FIRED
from podling.core.task import Attempt, AttemptStatus, Task, TaskEvent, TaskStatus
from podling.core.traffic import DELAYS
from podling.core.transition import CANCEL_REQUESTED, Actor
from podling.core.value import value

RESTORED = "restored"
"""The event of an attempt that was live in a backup: it may have ended between backup and restore."""


@value
class TimelineLine:
    at: datetime
    type: str
    attempt: int | None
    actor: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


def timeline(
    task: Task,
    attempts: Sequence[Attempt],
    events: Sequence[TaskEvent],
    decisions: Sequence[Decision] = (),
) -> tuple[TimelineLine, ...]:
    """Return the lines in order of time; what happened at one time stays in order of cause."""
    lines = [_submitted(task, events)]
    for attempt in attempts:
        lines.extend(_attempt_lines(attempt))
    lines.extend(_event_line(event) for event in events)
    # What a node denied has ended an attempt, whose line says so.
    lines.extend(_decision_line(decision) for decision in decisions if decision.door is not None)
    lines.extend(_delay_line(decision) for decision in decisions if decision.code in DELAYS)
    if task.status.is_terminal:
        lines.append(_end(task, attempts, events))
    return tuple(sorted(lines, key=lambda line: line.at))


def placed(lines: Sequence[TimelineLine]) -> Iterator[tuple[Place, TimelineLine]]:
    """Yield the lines with their places: the time, and which of that time it is."""
    for at, group in groupby(lines, key=lambda line: line.at):
        for number, line in enumerate(group):
            yield (at, f"{number:09}"), line


def _submitted(task: Task, events: Sequence[TaskEvent]) -> TimelineLine:
    replayed = f", replayed from {task.spec.replay_of}" if task.spec.replay_of else ""
    parents = len(task.spec.depends_on)
    waits = f", to start after {parents} other task{'s' * (parents > 1)}" if parents else ""
    return TimelineLine(
        at=task.created_at,
        type="submitted",
        attempt=None,
        actor=_actor(events, FIRED),
        message=f"submitted to queue {task.spec.queue}{replayed}{waits}",
        details=_submit_details(task),
    )


def _actor(events: Sequence[TaskEvent], kind: str) -> str:
    """Return who did what an event of this kind tells; a person, where there is none."""
    return next((event.actor for event in events if event.type == kind), str(Actor.CLIENT))


def _submit_details(task: Task) -> dict[str, Any]:
    """Return what is its own of what decides where and when it runs; the rest is read with the task."""
    spec = task.spec
    details = {
        "queue": spec.queue,
        "priority": spec.priority,
        "maxAttempts": spec.max_attempts,
        "concurrencyKey": spec.concurrency_key,
        "replayOf": spec.replay_of,
        "shape": task.shape,
    }
    return {name: given for name, given in details.items() if given is not None}


def _attempt_lines(attempt: Attempt) -> Iterator[TimelineLine]:
    number = attempt.attempt
    yield TimelineLine(
        at=attempt.scheduled_at,
        type="scheduled",
        attempt=number,
        actor="leader",
        message=f"attempt {number} was given to node {attempt.node_id}",
        details={"nodeId": attempt.node_id},
    )
    if attempt.started_at is not None:
        yield TimelineLine(
            at=attempt.started_at,
            type="started",
            attempt=number,
            actor="worker",
            message=f"attempt {number} started on node {attempt.node_id}",
            details={"nodeId": attempt.node_id, "containerId": attempt.container_id},
        )
    if attempt.finished_at is not None and attempt.status is not AttemptStatus.REFUSED:
        yield _attempt_end(attempt, attempt.finished_at)


def _attempt_end(attempt: Attempt, finished_at: datetime) -> TimelineLine:
    lost = attempt.status is AttemptStatus.LOST
    return TimelineLine(
        at=finished_at,
        type=f"attempt_{attempt.status.value}",
        attempt=attempt.attempt,
        actor="leader" if lost else "worker",
        message=_end_message(attempt),
        details={
            "nodeId": attempt.node_id,
            "latencySeconds": _latency(attempt, finished_at),
            "exitCode": attempt.exit_code,
            "errorCode": attempt.error_code,
            "retryAt": None if attempt.retry_at is None else attempt.retry_at.isoformat(),
            "advice": advice_for(attempt.error_code),
        },
    )


def _latency(attempt: Attempt, finished_at: datetime) -> float | None:
    """Return for how long it ran, by its worker's clock; None if it never did."""
    if attempt.started_at is None:
        return None
    return max(0.0, (finished_at - attempt.started_at).total_seconds())


def _end_message(attempt: Attempt) -> str:
    words = f"attempt {attempt.attempt} {_ENDS.get(attempt.status, 'ended')}"
    if attempt.exit_code is not None:
        words += f" with exit code {attempt.exit_code}"
    if attempt.error_code is not None:
        words += f" ({attempt.error_code})"
    if attempt.started_at is not None and attempt.finished_at is not None:
        words += f" after {_latency(attempt, attempt.finished_at):.3g} s"
    return f"{words}: {attempt.error}" if attempt.error else words


_ENDS = {
    AttemptStatus.COMPLETED: "completed",
    AttemptStatus.FAILED: "failed",
    AttemptStatus.CANCELLED: "was stopped",
    AttemptStatus.LOST: "was lost with its node",
}


def _event_line(event: TaskEvent) -> TimelineLine:
    return TimelineLine(
        at=event.at,
        type=event.type,
        attempt=event.attempt,
        actor=event.actor,
        message=event.message,
        details=event.details,
    )


def _decision_line(decision: Decision) -> TimelineLine:
    times = f" ({decision.count} times)" if decision.count > 1 else ""
    return TimelineLine(
        at=decision.at,
        type=decision.code,
        attempt=None,
        actor=decision.actor,
        message=f"{decision.door} was refused{times}: {decision.message}",
        details=decision.details,
    )


def _delay_line(decision: Decision) -> TimelineLine:
    times = f" ({decision.count} times)" if decision.count > 1 else ""
    return TimelineLine(
        at=decision.first_at,
        type=decision.code,
        attempt=None,
        actor=decision.actor,
        message=f"the start was put off{times}: {decision.message}",
        details={**decision.details, "count": decision.count, "lastAt": decision.at.isoformat()},
    )


def _end(task: Task, attempts: Sequence[Attempt], events: Sequence[TaskEvent]) -> TimelineLine:
    """Return the last word; never before the attempt that led to it, whatever a worker's clock says."""
    times = [attempt.finished_at for attempt in attempts if attempt.finished_at is not None]
    at = max([task.finished_at or task.created_at, *times])
    reason = f": {task.error}" if task.error else ""
    return TimelineLine(
        at=at,
        type=task.status.value,
        attempt=task.attempt or None,
        actor=_actor(events, CANCEL_REQUESTED) if task.error_code == ErrorCode.CANCELLED else "leader",
        message=f"the task is {task.status.value}{reason}",
        details=_end_details(task),
    )


def _end_details(task: Task) -> dict[str, Any]:
    details: dict[str, Any] = {"errorCode": task.error_code, "deadLetterReason": task.dead_letter_reason}
    if task.status is not TaskStatus.FAILED:
        return details
    return details | {
        "failures": task.failures,
        "losses": task.losses,
        "meaning": MEANINGS.get(task.dead_letter_reason or ""),
        "advice": advice_for(task.error_code),
    }
