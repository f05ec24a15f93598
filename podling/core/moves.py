"""The rules of each move: what becomes of a task, given that the table allows the event.

`podling.core.lifecycle` has the table and checks the fence; nothing here is called by others.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from podling.core.endings import after_stop, back_to_pending, end_unstarted, fail, finish, moved_away
from podling.core.errors import IllegalTransition
from podling.core.limits import deadline_at, queue_timeout_at
from podling.core.protocol import Report
from podling.core.retry import ErrorCode, backoff_seconds
from podling.core.spec import OnLost
from podling.core.task import (
    NEVER,
    AttemptStatus,
    ContainerState,
    HealthStatus,
    Resolution,
    StopReason,
    Task,
    TaskEvent,
    TaskStatus,
)
from podling.core.transition import CANCEL_REQUESTED, Actor, Transition, attempt_row, cut, line, moved
from podling.core.value import changed

LEAST_REFUSAL_SECONDS = 1.0  # a refusal is charged to no budget, so it must not spin
_MAX_CODE_CHARACTERS = 64
_LAST = NEVER - timedelta(microseconds=1)


def assign(task: Task, node_id: str, now: datetime) -> Transition:
    """The next attempt, on this node."""
    assigned = moved(
        task,
        status=TaskStatus.SCHEDULED,
        attempt=task.attempt + 1,
        node_id=node_id,
        scheduled_at=now,
        started_at=None,
        finished_at=None,
        exit_code=None,
        error_code=None,
        error=None,
        containers=(),
        health_status=HealthStatus.UNKNOWN,
        progress=None,
        result=None,
    )
    return Transition(task=assigned, attempt=attempt_row(assigned, AttemptStatus.SCHEDULED))


def started(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    """Running; a held attempt whose worker came back with it goes on."""
    if task.status is TaskStatus.RUNNING and task.held is None:
        return Transition(task=task)  # told twice
    running = moved(
        task,
        status=TaskStatus.RUNNING,
        started_at=task.started_at or report.started_at or report.at,
        containers=_merged(task.containers, report.containers),
        health_status=report.health_status,
        held=None,
    )
    told = () if task.held is None else (_released(task, now),)
    return Transition(task=running, attempt=attempt_row(running, AttemptStatus.RUNNING), events=told)


def _released(task: Task, now: datetime) -> TaskEvent:
    return line(task, now, "released", f"node {task.node_id} came back with it, so it goes on", Actor.WORKER)


def updated(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    """Restarted, or another health."""
    containers = _merged(task.containers, report.containers)
    if (containers, report.health_status, None) == (task.containers, task.health_status, task.held):
        return Transition(task=task)
    updated = moved(task, containers=containers, health_status=report.health_status, held=None)
    return Transition(task=updated, attempt=attempt_row(updated, AttemptStatus.RUNNING))


def ended(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    """Over: well, on an order to stop, or badly. An end that came before the stop acted counts as it is."""
    over = moved(
        task,
        started_at=task.started_at or report.started_at,
        finished_at=report.finished_at or report.at,
        exit_code=report.exit_code,
        containers=_merged(task.containers, report.containers),
        held=None,
    )
    code = _error_code(report)
    if code is None:
        return finish(over, TaskStatus.COMPLETED, None, None)
    if task.stop_reason is StopReason.DRAIN and report.stopped_by is StopReason.STALE:
        return moved_away(over, now, never_started=report.never_started)
    return fail(over, code, report.error, now, draw, never_started=report.never_started)


_STOP_CODES: Mapping[StopReason, ErrorCode] = {
    StopReason.TIMEOUT: ErrorCode.TIMEOUT,
    StopReason.DISCONNECT: ErrorCode.DISCONNECTED,
    StopReason.CANCEL: ErrorCode.EXTERNAL,  # unless the task was told to stop, where no code counts
    StopReason.DEADLINE: ErrorCode.EXTERNAL,
    StopReason.DRAIN: ErrorCode.DRAINED,
    StopReason.STALE: ErrorCode.EXTERNAL,
    StopReason.RESTART: ErrorCode.EXTERNAL,
}


def _error_code(report: Report) -> str | None:
    """Return why it ended badly; None if it ended well. Stopped is not well, whatever the exit code."""
    if report.error_code is not None:
        return report.error_code[:_MAX_CODE_CHARACTERS]
    if report.stopped_by is not None:
        return _STOP_CODES[report.stopped_by]
    return ErrorCode.EXIT_CODE if report.exit_code else None


def refused(task: Task, report: Report, now: datetime, draw: float) -> Transition:
    """Back to pending, charged to no budget: nothing was started."""
    message = cut(report.error) or "the worker sent it back before it started"
    over = moved(task, finished_at=report.at, containers=())
    row = attempt_row(over, AttemptStatus.REFUSED, report.error_code, message)
    told = line(task, now, "refused", f"node {task.node_id} sent it back: {message}", Actor.WORKER)
    if task.must_end:
        return Transition(task=after_stop(over).task, attempt=row, events=(told,))
    code = report.error_code or ErrorCode.RUNTIME
    wait = LEAST_REFUSAL_SECONDS
    if code != ErrorCode.DRAINED:
        wait = max(wait, backoff_seconds(task.spec.retry, 1, draw))
    waiting = changed(back_to_pending(over, now, wait), error_code=code, error=message)
    return Transition(task=waiting, attempt=row, events=(told,))


def lose(task: Task, reason: str, now: datetime, draw: float) -> Transition:
    """What `onLost` says. What must not run twice, and may have started, waits."""
    lost = moved(task, finished_at=now)
    if task.must_end:
        return after_stop(lost, AttemptStatus.LOST)
    if task.spec.on_lost is OnLost.FAIL:
        code = ErrorCode.NODE_LOST
        return finish(lost, TaskStatus.FAILED, code, reason, str(code), AttemptStatus.LOST)
    if task.spec.waits_when_lost:
        return _hold(task, reason, now)
    return fail(lost, ErrorCode.NODE_LOST, reason, now, draw, AttemptStatus.LOST)


_HELD_UNTIL = "waits until the node returns, or podling resolve says what became of it"


def _hold(task: Task, reason: str, now: datetime) -> Transition:
    if task.held is not None:
        return Transition(task=task)
    told = line(task, now, "held", f"{reason}; {_HELD_UNTIL}", Actor.LEADER)
    return Transition(task=moved(task, held=reason or "its node is lost"), events=(told,))


def evict(task: Task, reason: str, now: datetime) -> Transition:
    """Have the worker stop it, so that it can go elsewhere; a held attempt has nobody to stop it."""
    if task.stop_reason is not None or task.held is not None:
        return Transition(task=task)
    told = line(task, now, "drained", reason, Actor.LEADER)
    stopping = moved(task, stop_reason=StopReason.DRAIN, stop_requested_at=now)
    return Transition(task=stopping, events=(told,))


def cancel(task: Task, actor: str, reason: str, now: datetime) -> Transition:
    """At once where no worker can answer; otherwise its worker is told to stop."""
    told = line(task, now, CANCEL_REQUESTED, reason, actor)
    if task.status is TaskStatus.PENDING:
        ended = end_unstarted(task, TaskStatus.CANCELLED, ErrorCode.CANCELLED, reason, now)
        return ended if actor == Actor.CLIENT else changed(ended, events=(*ended.events, told))
    if task.stop_reason is StopReason.CANCEL:
        return Transition(task=task)
    stopping = moved(task, stop_reason=StopReason.CANCEL, stop_requested_at=now)
    return changed(_stop(stopping, now), events=(told,))


def deadline(task: Task, now: datetime) -> Transition:
    """Like a cancel, but failed."""
    at = deadline_at(task)
    if at is None or now < at:
        return Transition(task=task)
    message = f"it did not end within {task.spec.deadline_seconds or 0:g} s of its submission"
    if task.status is TaskStatus.PENDING:
        return end_unstarted(task, TaskStatus.FAILED, ErrorCode.DEADLINE, message, now)
    told = line(task, now, "deadline", message, Actor.LEADER)
    stopping = moved(task, stop_reason=StopReason.DEADLINE, stop_requested_at=now)
    return changed(_stop(stopping, now), events=(told,))


def _stop(stopping: Task, now: datetime) -> Transition:
    """Wait for the worker's word; nobody is there to give it for a held attempt."""
    if stopping.held is None:
        return Transition(task=stopping)
    return after_stop(changed(stopping, finished_at=now), AttemptStatus.LOST)


def retry_now(task: Task, now: datetime) -> Transition:
    """Due at once."""
    if task.run_at <= now:
        return Transition(task=task)
    told = line(task, now, "retry_requested", "the next attempt need not wait", Actor.CLIENT)
    return Transition(task=moved(task, run_at=now), events=(told,))


def resolve(task: Task, outcome: Resolution, now: datetime) -> Transition:
    """An operator knows what became of a held attempt. Raises IllegalTransition."""
    if task.held is None:
        raise IllegalTransition(
            "the task is not held, so there is nothing to resolve", details={"status": task.status}
        )
    over = moved(task, finished_at=now, held=None)
    told = line(task, now, "resolved", f"an operator resolved it as {outcome}", Actor.CLIENT)
    if outcome is Resolution.RETRY:
        row = attempt_row(over, AttemptStatus.LOST, ErrorCode.NODE_LOST, task.held)
        return Transition(task=back_to_pending(over, now), attempt=row, events=(told,))
    return changed(_ended_as(over, outcome, task.held), events=(told,))


def _ended_as(over: Task, outcome: Resolution, why: str) -> Transition:
    if outcome is Resolution.COMPLETED:
        return finish(over, TaskStatus.COMPLETED, None, None)
    if outcome is Resolution.CANCELLED:
        return finish(over, TaskStatus.CANCELLED, ErrorCode.CANCELLED, why)
    code = ErrorCode.NODE_LOST
    return finish(over, TaskStatus.FAILED, code, why, str(code), AttemptStatus.LOST)


def queue_timeout(task: Task, now: datetime) -> Transition:
    """Failed, if it still waits and has waited that long."""
    at = queue_timeout_at(task)
    if at is None or now < at:
        return Transition(task=task)
    message = f"it was not given to a node within {task.spec.queue_timeout_seconds or 0:g} s"
    return end_unstarted(task, TaskStatus.FAILED, ErrorCode.QUEUE_TIMEOUT, message, now)


def announce(task: Task, progress: float | None, result: str | None) -> Transition:
    """The attempt's own word; said again, it changes nothing."""
    said = {"progress": progress, "result": result}
    news = {name: item for name, item in said.items() if item is not None and item != getattr(task, name)}
    return Transition(task=moved(task, **news) if news else task)


def deny(task: Task, reason: str, now: datetime) -> Transition:
    """Failed before it ever waited."""
    return end_unstarted(task, TaskStatus.FAILED, ErrorCode.NOT_ADMITTED, reason, now)


def parents_met(task: Task, parents: int, now: datetime) -> Transition:
    """Due from its own time on, or at once; nothing if it waits for nobody."""
    if not task.waits_for_parents:
        return Transition(task=task)
    due = max(now, task.spec.run_at or now)
    whom = (
        "the task that it depends on has" if parents == 1 else f"all {parents} tasks that it depends on have"
    )
    told = line(task, now, "parents_met", f"{whom} ended as it wants", Actor.LEADER)
    return Transition(task=moved(task, run_at=min(due, _LAST)), events=(told,))


def parent_unmet(task: Task, reason: str, parent_id: str, now: datetime) -> Transition:
    """Cancelled, if it waits at all: what was let go goes on."""
    if not task.waits_for_parents:
        return Transition(task=task)
    ended = end_unstarted(task, TaskStatus.CANCELLED, ErrorCode.DEPENDENCY_UNMET, reason, now)
    told = line(task, now, "parent_unmet", reason, Actor.LEADER)
    return changed(ended, events=(changed(told, details={"taskId": parent_id}),))


def _merged(
    known: tuple[ContainerState, ...], told: tuple[ContainerState, ...]
) -> tuple[ContainerState, ...]:
    """Return the containers as told; what was known and is not told again stays."""
    before = {container.name: container for container in known}
    return tuple(_filled(state, before.get(state.name)) for state in told) or known


def _filled(state: ContainerState, before: ContainerState | None) -> ContainerState:
    if before is None:
        return state
    return changed(
        state,
        container_id=state.container_id or before.container_id,
        image_digest=state.image_digest or before.image_digest,
        started_at=state.started_at or before.started_at,
        restart_count=max(state.restart_count, before.restart_count),
    )
