"""Why a task is where it is: one sentence, the reasons behind it, and what a person can do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from podling.core.advice import delay_advice, placement_advice
from podling.core.dead_letters import MEANINGS
from podling.core.explain_waiting import explain_waiting
from podling.core.explanation import Explanation as Explanation
from podling.core.explanation import NodeFit as NodeFit
from podling.core.explanation import Reason as Reason
from podling.core.limits import deadline_at, later, queue_timeout_at
from podling.core.node import NodeStatus
from podling.core.retry import advice_for
from podling.core.task import Attempt, HealthStatus, StopReason, Task, TaskStatus
from podling.core.traffic import KEY, Delay
from podling.core.tries import advice_of, clause, ending, history, last_ended, moment
from podling.core.view import View, WhyNot

MOST_NODES = 100  # listed with what they lack; those that lack least come first
MOST_HOLDERS = 3
_NOBODY: Mapping[str, TaskStatus] = {}


def explain(
    task: Task,
    attempts: Sequence[Attempt],
    view: View,
    ahead: int,
    now: datetime,
    monotonic: float | None = None,
    delay: Delay | None = None,
    parents: Mapping[str, TaskStatus] = _NOBODY,
) -> Explanation:
    """Explain the task by what the view knows of the nodes.

    `ahead` is the number of ready tasks before it in claim order; `monotonic` the planner's clock,
    by which nodes back off (None: none of them does). `delay` is what its queue or key says, `parents`
    where those are that it waits for.
    """
    match task.status:
        case TaskStatus.PENDING if task.waits_for_parents:
            return explain_waiting(task, parents, now)
        case TaskStatus.PENDING if task.run_at > now:
            return _not_due(task, attempts, now)
        case TaskStatus.PENDING:
            return _due(task, attempts, view, ahead, now, monotonic, delay)
        case TaskStatus.SCHEDULED | TaskStatus.RUNNING:
            return _live(task, attempts, view, now)
        case _:
            return _ended(task)


# Pending


def _not_due(task: Task, attempts: Sequence[Attempt], now: datetime) -> Explanation:
    at = moment(task.run_at)
    last = last_ended(attempts)
    if last is None:
        summary = f"It waits for its time, {at}, before which it must not run."
    else:
        summary = f"It waits until {at} for attempt {task.attempt + 1}, because {ending(last)}."
    reason = Reason(code="not_due", message=f"due at {at}", details={"runAt": at})
    return Explanation(
        task_id=task.task_id,
        status=task.status,
        summary=summary,
        reasons=(reason, *history(task, last)),
        next_event_at=_next(task, now, task.run_at),
        advice=advice_of(last),
    )


def _due(
    task: Task,
    attempts: Sequence[Attempt],
    view: View,
    ahead: int,
    now: datetime,
    monotonic: float | None,
    delay: Delay | None,
) -> Explanation:
    why = view.why_blocked(task, monotonic)
    last = last_ended(attempts)
    again = f", and its last try ended so: {ending(last)}" if last else ""
    advice: str | None
    if delay is not None:
        holders = _holders(task, delay, view)
        summary = f"It waits because {delay.message}{holders}{again}."
        reasons, advice = _delay_reasons(delay, holders), delay_advice(delay)
    elif why is None:
        summary, reasons = _in_line(ahead) + again + ".", _line_reasons(ahead)
        advice = advice_of(last)
    else:
        summary = f"It waits because {clause(why.sentence())}{again}."
        reasons, advice = _fit_reasons(why), placement_advice(why, view.nodes())
    return Explanation(
        task_id=task.task_id,
        status=task.status,
        summary=summary,
        reasons=(*reasons, *history(task, last)),
        nodes=_node_fits(task, view, monotonic),
        queue_position=ahead + 1,
        next_event_at=_next(task, now, _wake_up(delay, why, now, monotonic)),
        advice=advice,
    )


def _wake_up(
    delay: Delay | None, why: WhyNot | None, now: datetime, monotonic: float | None
) -> datetime | None:
    """Return when what holds the task up ends by itself, if it does."""
    if delay is not None:
        return delay.until
    if why is None or why.until is None or monotonic is None:
        return None
    return now + timedelta(seconds=why.until - monotonic)


def _holders(task: Task, delay: Delay, view: View) -> str:
    key = task.spec.concurrency_key
    if delay.code != KEY or key is None:
        return ""
    holders = view.holders_of(key)
    more = f" and {len(holders) - MOST_HOLDERS} more" if len(holders) > MOST_HOLDERS else ""
    return f", held by {', '.join(holders[:MOST_HOLDERS])}{more}" if holders else ""


def _delay_reasons(delay: Delay, holders: str) -> tuple[Reason, ...]:
    details = {"queue": delay.queue, **delay.details}
    return (Reason(code=delay.code, message=delay.message + holders, details=details),)


def _in_line(ahead: int) -> str:
    if ahead == 0:
        return "It is next in line and a node has room for it, so it is about to be placed"
    waiting = "1 task is" if ahead == 1 else f"{ahead} tasks are"
    return f"It waits for its turn: {waiting} before it"


def _line_reasons(ahead: int) -> tuple[Reason, ...]:
    message = f"position {ahead + 1} among the tasks that are ready"
    return (Reason(code="in_line", message=message, details={"ahead": ahead}),)


def _fit_reasons(why: WhyNot) -> tuple[Reason, ...]:
    counts = sorted(why.reasons.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Reason(
            code=_code(reason),
            message=f"{count} of {why.nodes} nodes: {reason}",
            details={"reason": reason, "nodes": count},
        )
        for reason, count in counts
    )


_CODES = {
    "label ": "label_mismatch",
    "host port ": "host_port_in_use",
    "runtime ": "runtime_missing",
    "handler ": "handler_missing",
    "database ": "database_missing",
}


def _code(reason: str) -> str:
    if reason == "runtime unhealthy":
        return "runtime_unhealthy"
    for start, code in _CODES.items():
        if reason.startswith(start):
            return code
    return reason.replace(" ", "_")


def _node_fits(task: Task, view: View, monotonic: float | None) -> tuple[NodeFit, ...]:
    requirement = view.requirement(task)
    left = view.seconds_to_back_off(task, monotonic)
    found = []
    for node in view.nodes():
        lacks = [lack.message for lack in view.lacks(node.node_id, requirement)]
        if node.node_id in left:
            seconds = left[node.node_id]
            lacks.append(f"for {seconds:.0f} s it backs off, because it could not make such a container")
        found.append((len(lacks), node.node_id, tuple(lacks)))
    found.sort()
    return tuple(
        NodeFit(node_id=node_id, fits=not lacks, lacks=lacks) for _, node_id, lacks in found[:MOST_NODES]
    )


# Live


def _live(task: Task, attempts: Sequence[Attempt], view: View, now: datetime) -> Explanation:
    summary, reason = _live_words(task, view)
    reasons = [reason, *_node_reasons(task, view)]
    if task.progress is not None:
        said = {"progress": task.progress}
        reasons.append(
            Reason(code="progress", message=f"it says it is {task.progress:g} % done", details=said)
        )
    if task.health_status is HealthStatus.UNHEALTHY:
        reasons.append(Reason(code="unhealthy", message="its health check fails"))
    if task.restart_count:
        count = {"restartCount": task.restart_count}
        reasons.append(Reason(code="restarted", message="containers were started again", details=count))
    reasons += history(task, last_ended(attempts))
    return Explanation(
        task_id=task.task_id,
        status=task.status,
        summary=summary,
        reasons=tuple(reasons),
        next_event_at=_next(task, now),
        advice=_held_advice(task) if task.held is not None else None,
    )


def _node_reasons(task: Task, view: View) -> Iterator[Reason]:
    """Say what its node's state means for a live task."""
    node = view.node(task.node_id or "")
    if node is None:
        return
    details = {"nodeId": node.node_id}
    if node.drain is not None:
        seconds = node.drain.deadline_seconds
        limit = "" if seconds is None else f", or is moved elsewhere {seconds:g} s after the drain began"
        yield Reason(
            code="node_draining", message=f"its node is drained: it may end there{limit}", details=details
        )
    if node.status is not NodeStatus.ONLINE and task.status is TaskStatus.RUNNING and task.held is None:
        why = clause(node.lost_reason or "its worker is not connected")
        message = f"its node is offline ({why}); after a lease of silence onLost decides"
        yield Reason(code="node_offline", message=message, details=details)


def _live_words(task: Task, view: View) -> tuple[str, Reason]:
    where = f"node {task.node_id}"
    details = {"nodeId": task.node_id, "attempt": task.attempt}
    if task.held is not None:
        why = clause(task.held)
        until = "until the node returns or an operator decides"
        summary = f"Attempt {task.attempt} on {where} is held {until}, because {why}."
        return summary, Reason(code="held", message=why, details=details)
    if task.stop_reason is not None:
        why = _STOPS[task.stop_reason]
        since = f" since {moment(task.stop_requested_at)}" if task.stop_requested_at else ""
        summary = f"Attempt {task.attempt} is being stopped on {where}{since}, because {why}."
        return summary, Reason(code="stopping", message=why, details=details)
    if task.status is TaskStatus.RUNNING:
        since = f" since {moment(task.started_at)}" if task.started_at else ""
        message = f"attempt {task.attempt} runs on {where}"
        return f"Attempt {task.attempt} runs on {where}{since}.", Reason(
            code="running", message=message, details=details
        )
    return _scheduled_words(task, view, where, details)


def _scheduled_words(task: Task, view: View, where: str, details: Mapping[str, Any]) -> tuple[str, Reason]:
    node = view.node(task.node_id or "")
    given = f"Attempt {task.attempt} was given to {where}"
    if task.scheduled_at is not None:
        given += f" at {moment(task.scheduled_at)}"
    if node is None or node.status is not NodeStatus.ONLINE:
        summary = f"{given}, whose worker is not connected at the moment."
        return summary, Reason(code="node_offline", message=f"{where} is offline", details=details)
    summary = f"{given}, whose worker is making its containers."
    message = f"waits for {where} to report the start"
    return summary, Reason(code="starting", message=message, details=details)


_STOPS = {
    StopReason.CANCEL: "it was cancelled",
    StopReason.DEADLINE: "its deadline has passed",
    StopReason.DRAIN: "its node is drained, so it goes elsewhere",
    StopReason.TIMEOUT: "it ran longer than its timeout",
    StopReason.DISCONNECT: "its worker lost every master",
    StopReason.STALE: "a newer attempt has taken its place",
    StopReason.RESTART: "its containers are started again",
}


def _held_advice(task: Task) -> str:
    return (
        f"Bring node {task.node_id} back, or say what became of it:"
        f" podling resolve {task.task_id} completed|failed|cancelled, or retry, which starts it once more"
        " whether it has run or not."
    )


# Ended


def _ended(task: Task) -> Explanation:
    at = f" at {moment(task.finished_at)}" if task.finished_at else ""
    where = f" on node {task.node_id}" if task.node_id else ""
    error = f": {clause(task.error)}" if task.error else ""
    match task.status:
        case TaskStatus.COMPLETED:
            summary = f"It completed{at}{where} with attempt {task.attempt}."
        case TaskStatus.CANCELLED:
            summary = f"It was cancelled{at}{where}{error}."
        case _:
            tries = f" after {task.attempt} attempts" if task.attempt > 1 else ""
            code = f" with {clause(task.error_code)}" if task.error_code else ""
            summary = f"It failed{at}{where}{tries}{code}{error}."
    return Explanation(
        task_id=task.task_id,
        status=task.status,
        summary=summary,
        reasons=(*_end_reasons(task), *history(task)),
        advice=advice_for(task.error_code) if task.status is TaskStatus.FAILED else None,
    )


def _end_reasons(task: Task) -> tuple[Reason, ...]:
    details = {"errorCode": task.error_code, "exitCode": task.exit_code, "attempt": task.attempt}
    message = task.error or f"the task is {task.status.value}"
    reason = Reason(code=(task.error_code or task.status.value).lower(), message=message, details=details)
    if task.dead_letter_reason is None:
        return (reason,)
    letter = Reason(
        code=task.dead_letter_reason.lower(),
        message=MEANINGS.get(task.dead_letter_reason, "no further attempt may follow"),
        details={"failures": task.failures, "losses": task.losses},
    )
    return reason, letter


def _next(task: Task, now: datetime, *known: datetime | None) -> datetime | None:
    """Return the first time after `now` at which something happens to the task by itself."""
    times = [*known, deadline_at(task), queue_timeout_at(task)]
    if task.status is TaskStatus.RUNNING:
        times.append(later(task.started_at, task.spec.timeout_seconds))
    return min((at for at in times if at is not None and at > now), default=None)
