"""Submit, read, cancel, retry, replay."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from podling.core.access import Principal
from podling.core.dead_letters import DISMISSED, REPLAYED, replay_line
from podling.core.errors import (
    Forbidden,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidInput,
    NotFound,
    PodlingError,
    StaleAttempt,
)
from podling.core.explain import Explanation, Reason, explain
from podling.core.graph import waits_clause
from podling.core.lifecycle import Cancel, Deny, Reported, Resolve, RetryNow
from podling.core.placement import shape_of
from podling.core.protocol import Report, ReportKind
from podling.core.schedule import FireWrite
from podling.core.spec import TaskSpec
from podling.core.task import (
    NEVER,
    Attempt,
    HealthStatus,
    Resolution,
    StopReason,
    Task,
    TaskEvent,
    TaskStatus,
)
from podling.core.timeline import TimelineLine, timeline
from podling.core.value import beyond_defaults
from podling.master.context import MasterContext
from podling.master.inserts import Insert, Replays
from podling.master.operations import queues
from podling.master.operations.admission import REPLAY, Entry, admit
from podling.store.base import TaskQuery, WriteResult, WriteStatus
from podling.store.ports.decisions import DecisionQuery
from podling.wire.codec import encode

MOST_REFUSED_TOLD = 5
AT_A_TIME = 20  # of a batch, before others have a turn: several batches come side by side


async def submit(context: MasterContext, spec: TaskSpec, entry: Entry) -> tuple[Task, bool]:
    """Store a task; return it, and whether it is new (False: its idempotency key was used before).

    Raises InvalidInput, PolicyDenied, IdempotencyMismatch, StoreUnavailable.
    """
    spec = await admit(context, spec, entry)
    return await _stored(context, spec, _insert(context, spec))


async def submit_many(
    context: MasterContext,
    specs: Iterable[TaskSpec | PodlingError],
    entry: Entry,
    refusal: Callable[[PodlingError], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Submit each; the answers are `{taskId}` or what `refusal` makes of its error, in order.

    They are taken piece by piece: beats are answered between two pieces of a large batch.
    """
    left, begun = iter(specs), []
    while piece := list(islice(left, AT_A_TIME)):
        begun += [await _begin(context, spec, entry) for spec in piece]
        await asyncio.sleep(0)
    return [await _answered(context, item, refusal) for item in begun]


_Begun = tuple[TaskSpec, "asyncio.Future[Task | WriteResult]"]


async def _begin(
    context: MasterContext, spec: TaskSpec | PodlingError, entry: Entry
) -> _Begun | PodlingError:
    if isinstance(spec, PodlingError):
        return spec
    try:
        spec = await admit(context, spec, entry)
        return spec, _insert(context, spec)
    except PodlingError as error:
        return error


async def _answered(
    context: MasterContext, begun: _Begun | PodlingError, refusal: Callable[[PodlingError], dict[str, Any]]
) -> dict[str, Any]:
    if isinstance(begun, PodlingError):
        return refusal(begun)
    try:
        task, _ = await _stored(context, *begun)
    except PodlingError as error:
        return refusal(error)
    return {"taskId": task.task_id}


def _insert(context: MasterContext, spec: TaskSpec) -> "asyncio.Future[Task | WriteResult]":
    body_hash = None if spec.idempotency_key is None else hash_of(spec)
    task = new_task(context.new_id(), spec, context.clock.now())
    return context.committer.insert(insert_of(context, task, body_hash))


def insert_of(
    context: MasterContext,
    task: Task,
    body_hash: str | None = None,
    *,
    replays: Replays | None = None,
    fire: FireWrite | None = None,
    events: tuple[TaskEvent, ...] = (),
    inbox_id: int | None = None,
    over: Cancel | Deny | None = None,
) -> Insert:
    """Return a new task on its way into a commit: out of the ready order if it could not start now."""
    waits = task.waits_for_parents
    return Insert(
        task,
        body_hash,
        blocked=not waits and task.shape in context.full_for,
        line=None if waits else context.queues.rules.line_of(task),
        replays=replays,
        fire=fire,
        events=events,
        inbox_id=inbox_id,
        over=over,
    )


def hash_of(spec: TaskSpec) -> str:
    """Return what tells a repeated submit from another one under the same key, whoever sent it.

    Only what was asked for counts: a later version, with more fields, finds the same.
    """
    if spec.alerts:
        spec = replace(spec, alerts=tuple(replace(wish, listed_only=False) for wish in spec.alerts))
    asked = beyond_defaults(spec)
    return hashlib.sha256(encode(asked, sort_names=True)).hexdigest()


async def _stored(
    context: MasterContext, spec: TaskSpec, inserted: "asyncio.Future[Task | WriteResult]"
) -> tuple[Task, bool]:
    answer = await inserted
    if not isinstance(answer, WriteResult):
        return answer, True
    if answer.status is WriteStatus.NO_PARENT:
        raise missing_parent(answer.task_id)
    return await _repeated(context, spec, answer), False


def missing_parent(task_id: str) -> InvalidInput:
    """Return the refusal of a task that depends on one that is not there."""
    return InvalidInput(
        f"dependsOn: there is no task {task_id}; it was never submitted, or history has forgotten it",
        code="missing_parent",
        details={"field": "dependsOn", "taskId": task_id},
    )


def new_task(task_id: str, spec: TaskSpec, now: datetime, run_at: datetime | None = None) -> Task:
    """Return the task that an admitted specification becomes."""
    return Task(
        task_id=task_id,
        spec=spec,
        status=TaskStatus.PENDING,
        version=1,
        created_at=now,
        run_at=NEVER if spec.depends_on else run_at or spec.run_at or now,
        shape=shape_of(spec),
    )


async def _repeated(context: MasterContext, spec: TaskSpec, first: WriteResult) -> Task:
    if not first.same_body:
        raise mismatch(spec.idempotency_key, first.task_id)
    return await get(context, first.task_id)


def mismatch(key: str | None, task_id: str) -> IdempotencyMismatch:
    """Return the refusal of another task under a key that has one."""
    return IdempotencyMismatch(
        f"the idempotency key {key!r} was used for another task; use a new key, or send the same body",
        details={"taskId": task_id},
    )


async def get(context: MasterContext, task_id: str) -> Task:
    """Raises NotFound."""
    found = (await context.store.load_tasks([task_id])).get(task_id)
    if found is None:
        raise NotFound.of("task")
    return found


async def list_(context: MasterContext, query: TaskQuery) -> Sequence[Task]:
    return await context.store.list_tasks(query)


def scheduling_errors(context: MasterContext, tasks: Sequence[Task]) -> Sequence[str | None]:
    """Return for each that it waits for others, or is due and why it may not start or fits on no node.


    Every shape is looked at once, until something changes: a page of a thousand nodes' backlog would
    hold up all others.
    """
    now, held_back = context.clock.now(), queues.delays(context)

    def of(task: Task) -> str | None:
        if task.waits_for_parents:
            return waits_clause(task)
        if task.status is not TaskStatus.PENDING or task.run_at > now:
            return None
        delay = held_back(task)
        return context.view.scheduling_error(task) if delay is None else delay.message

    return [of(task) for task in tasks]


async def cancel(context: MasterContext, task_id: str) -> Task:
    """Stop a task for good. Raises NotFound, IllegalTransition if it has ended otherwise."""
    try:
        return await context.committer.apply(task_id, Cancel())
    except IllegalTransition:
        task = await get(context, task_id)
        if task.status is TaskStatus.CANCELLED:
            return task
        raise


async def retry(context: MasterContext, task_id: str) -> Task:
    """Let the next attempt start now. Raises NotFound, IllegalTransition."""
    return await context.committer.apply(task_id, RetryNow())


async def resolve(
    context: MasterContext, task_id: str, outcome: Resolution, attempt: int | None = None
) -> Task:
    """Say what became of a held attempt.

    Raises NotFound, IllegalTransition if none is held, StaleAttempt if another one than the given is live.
    """
    return await context.committer.apply(task_id, Resolve(outcome=outcome, attempt=attempt))


async def replay(
    context: MasterContext, task_id: str, queue: str | None, run_at: datetime | None, actor: Principal
) -> Task:
    """Submit a new task like an ended one, which may be denied now, and take that off the dead letters.

    It waits for nobody, and nobody for it: who waited for the ended one was let go, or ended with it.

    Raises NotFound, IllegalTransition if it has not ended, PolicyDenied.
    """
    task = await get(context, task_id)
    if not task.status.is_terminal:
        raise IllegalTransition(
            f"the task is {task.status} and has not ended; cancel it first, or wait",
            details={"taskId": task_id, "status": str(task.status)},
        )
    new = await (await begin_replay(context, task, queue, run_at, actor))
    assert isinstance(new, Task)
    return new


async def begin_replay(
    context: MasterContext,
    task: Task,
    queue: str | None,
    run_at: datetime | None,
    actor: Principal,
    *,
    only_if_listed: bool = False,
) -> "asyncio.Future[Task | WriteResult]":
    """Admit a task like this one and have it stored; the answer is the new task.

    With `only_if_listed` it is a result instead if the old one is no dead letter any more. Raises
    InvalidInput, PolicyDenied.
    """
    spec = replace(
        task.spec,
        replay_of=task.task_id,
        idempotency_key=None,
        run_at=run_at,
        queue=queue or task.spec.queue,
        depends_on=(),  # what it waited for has ended
    )
    spec = await admit(context, spec, Entry(actor=actor, door=REPLAY, task_id=task.task_id))
    now = context.clock.now()
    new = new_task(context.new_id(), spec, now)
    replays = Replays(replay_line(task, new.task_id, now, actor.name), only_if_listed)
    return context.committer.insert(insert_of(context, new, replays=replays))


async def report(context: MasterContext, task_id: str, report: Report, node_id: str | None = None) -> Task:
    """Apply a status that came by REST instead of a session.

    Accepted without an attempt only for one whose node's session is down; with `node_id`, only from
    the node that it is on. Raises NotFound, Forbidden, StaleAttempt, IllegalTransition.
    """
    task = await get(context, task_id)
    if node_id not in (None, task.node_id):
        raise Forbidden(f"the task is not on node {node_id}", code="another_node")
    if report.attempt == 0:
        _check_disconnected(context, task)
        report = replace(report, attempt=task.attempt)
    if report.attempt < task.attempt:  # what changes nothing is answered by what this master has seen so far
        message = f"attempt {report.attempt} of task {task_id} is not its live one"
        raise StaleAttempt(message, details={"taskId": task_id, "attempt": task.attempt})
    if report.kind is ReportKind.RUNNING and task.status is TaskStatus.RUNNING:
        health = task.health_status if report.health_status is HealthStatus.UNKNOWN else report.health_status
        report = replace(report, kind=ReportKind.UPDATE, health_status=health)
    if report.stopped_by is StopReason.CANCEL and task.status.is_live and report.attempt == task.attempt:
        task = await context.committer.apply(task_id, Cancel(reason=report.error or Cancel().reason))
        if task.status.is_terminal:
            return task
    return await context.committer.apply(task_id, Reported(report=report, node_id=task.node_id or ""))


def _check_disconnected(context: MasterContext, task: Task) -> None:
    if not task.status.is_live or task.node_id is None:
        raise IllegalTransition(
            f"the task is {task.status}, so no attempt of it can have a new status",
            details={"taskId": task.task_id, "status": str(task.status)},
        )
    node = context.view.node(task.node_id)
    if node is not None and node.is_online:
        raise IllegalTransition(
            "its worker is connected and reports by itself; name the attempt to override it",
            details={"taskId": task.task_id, "nodeId": task.node_id, "attempt": task.attempt},
        )


async def attempts(context: MasterContext, task_id: str, after: int, limit: int) -> Sequence[Attempt]:
    """Return tries with a higher number than `after`, oldest first. Raises NotFound."""
    await get(context, task_id)
    return await context.store.load_attempts(task_id, after, limit)


async def timeline_of(context: MasterContext, task_id: str) -> Sequence[TimelineLine]:
    """Return everything that happened to the task, in order of time. Raises NotFound."""
    task = await get(context, task_id)
    rows = await context.store.load_attempts(task_id)
    events = await context.store.load_events(task_id)
    refused = await context.store.decisions.find(DecisionQuery(task_id=task_id))
    return timeline(task, rows, events, refused)


async def explain_task(context: MasterContext, task_id: str) -> Explanation:
    """Say why the task is where it is. Raises NotFound."""
    task = await get(context, task_id)
    rows = await context.store.load_attempts(task_id)
    ahead, delay = 0, None
    if task.status is TaskStatus.PENDING and task.run_at <= context.clock.now():
        ahead, delay = await queues.wait_of(context, task)
    now, monotonic = context.clock.now(), context.clock.monotonic()
    parents = await _parents(context, task)
    found = explain(task, rows, context.view, ahead, now, monotonic, delay, parents)
    left = await _left_dead_letters(context, task)
    return replace(found, reasons=(*found.reasons, *_refused_workers(context, task), *left))


async def _parents(context: MasterContext, task: Task) -> Mapping[str, TaskStatus]:
    if not task.waits_for_parents:
        return {}
    found = await context.store.load_tasks([each.task_id for each in task.spec.depends_on])
    return {task_id: parent.status for task_id, parent in found.items()}


async def _left_dead_letters(context: MasterContext, task: Task) -> list[Reason]:
    """Tell whether somebody has dismissed or replayed a task that failed, and when."""
    if task.status is not TaskStatus.FAILED:
        return []
    events = await context.store.load_events(task.task_id)
    return [
        Reason(code=event.type, message=f"{event.message} by {event.actor}", details=event.details)
        for event in events
        if event.type in (DISMISSED, REPLAYED)
    ]


def _refused_workers(context: MasterContext, task: Task) -> Iterator[Reason]:
    """Name the workers that would run the task, or go on with it, if they were let in."""
    if task.status.is_terminal:
        return
    for node, reason in context.refusals.all()[:MOST_REFUSED_TOLD]:
        if task.node_id in (None, node.node_id):
            message = f"the worker of node {node.hostname} is refused: {reason}"
            yield Reason(code="worker_refused", message=message, details={"nodeId": node.node_id})
