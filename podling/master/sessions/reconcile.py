"""Level-triggered: what a worker holds against what the store says it should."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

from podling.core.errors import StaleAttempt
from podling.core.lifecycle import Reported
from podling.core.protocol import (
    Assignment,
    AttemptKey,
    HeldAttempt,
    HeldState,
    Report,
    ReportKind,
    StopOrder,
)
from podling.core.retry import ErrorCode
from podling.core.spec import TaskSpec
from podling.core.task import LIVE, StopReason, Task
from podling.core.timeline import RESTORED
from podling.core.value import changed
from podling.master.context import MasterContext
from podling.master.sessions.returned import note_returned
from podling.store.base import TaskQuery
from podling.wire.session import Desired

MOST_ON_A_NODE = 100_000

FORGOTTEN = "its node came back without its journal: whether it ran, and how it ended, is not known"
AFTER_BACKUP = "it was live in the backup that was restored, and has ended since: how, is not known"


async def reconcile(
    context: MasterContext,
    node_id: str,
    held: Sequence[HeldAttempt],
    *,
    starts_afresh: bool = False,
    restarted: bool = False,
) -> Desired:
    """Return the verdict over an inventory. Raises StoreUnavailable.

    See `Hello` for `starts_afresh`; `restarted`: the worker program is another one than before.
    """
    supposed = await _supposed(context, node_id, starts_afresh)
    wanted = dict.fromkeys([*(item.task_id for item in held), *supposed])
    tasks = dict(await context.store.load_tasks(list(wanted)))
    await _unhold(context, node_id, held, tasks)
    stop: list[StopOrder] = []
    forget: list[AttemptKey] = []
    for item in held:
        task = tasks.get(item.task_id)
        if task is None or not _is_live_here(task, item, node_id):
            _dismiss(item, stop, forget)
        elif item.state is not HeldState.ENDED and (order := stop_order_of(task)):
            stop.append(order)
    await note_returned(context, node_id, held, tasks, restarted)
    missing = _missing(tasks.values(), node_id, held)
    if starts_afresh:
        await _end_unknown(context, node_id, missing, FORGOTTEN)
        missing = []
    if restored := await _restored(context, missing):
        await _end_unknown(context, node_id, restored, AFTER_BACKUP)
        missing = [task for task in missing if task not in restored]
    # A worker that has the stop before the start reports the end without having started anything.
    stop += [order for task in missing if (order := stop_order_of(task))]
    return Desired(
        assign=tuple(map(assignment_of, missing)),
        stop=tuple(stop),
        forget=tuple(forget),
    )


async def _supposed(context: MasterContext, node_id: str, starts_afresh: bool) -> list[str]:
    """Return the tasks that should be there.

    What the view does not know yet is delivered when it does. Whoever has forgotten everything must be
    asked about all of it now: it says so once, and would run again what it is given later.
    """
    if not starts_afresh:
        return [task.task_id for task in context.view.live_tasks_on(node_id)]
    query = TaskQuery(statuses=tuple(LIVE), node_id=node_id, limit=MOST_ON_A_NODE, fresh=True)
    return [task.task_id for task in await context.store.list_tasks(query)]


def _is_live_here(task: Task, item: HeldAttempt, node_id: str) -> bool:
    return task.status.is_live and task.attempt == item.attempt and task.node_id == node_id


def _dismiss(item: HeldAttempt, stop: list[StopOrder], forget: list[AttemptKey]) -> None:
    """An attempt that nobody waits for: stopped if it still runs, else forgotten."""
    if item.state is HeldState.ENDED:
        forget.append(AttemptKey(task_id=item.task_id, attempt=item.attempt))
    else:
        stop.append(StopOrder(task_id=item.task_id, attempt=item.attempt, reason=StopReason.STALE))


def _missing(tasks: Iterable[Task], node_id: str, held: Sequence[HeldAttempt]) -> list[Task]:
    """Return the node's live attempts that its worker has not got, to be delivered (again).

    Live by the store: the view may lag behind what another master has committed.
    """
    has = {(item.task_id, item.attempt) for item in held}
    return [
        task
        for task in tasks
        if task.status.is_live and task.node_id == node_id and (task.task_id, task.attempt) not in has
    ]


async def _restored(context: MasterContext, missing: Sequence[Task]) -> list[Task]:
    """Return those of whose attempt a backup knew: their worker may have told the end, and forgotten it."""
    if not missing:
        return []
    events = await context.store.find_events([task.task_id for task in missing], RESTORED)
    known = {(event.task_id, event.attempt) for event in events}
    return [task for task in missing if (task.task_id, task.attempt) in known]


async def _end_unknown(context: MasterContext, node_id: str, missing: Sequence[Task], reason: str) -> None:
    """End what the worker had been given and nobody remembers: it may have run, so not again."""

    async def end(task: Task) -> None:
        report = Report(
            sequence=0,
            task_id=task.task_id,
            attempt=task.attempt,
            kind=ReportKind.ENDED,
            at=context.clock.now(),
            error_code=ErrorCode.UNKNOWN_EXIT,
            error=reason,
        )
        with suppress(StaleAttempt):  # it has ended meanwhile
            await context.committer.apply(
                task.task_id, Reported(report=report, node_id=node_id), from_worker=True
            )

    await asyncio.gather(*map(end, missing))


async def _unhold(
    context: MasterContext, node_id: str, held: Sequence[HeldAttempt], tasks: dict[str, Task]
) -> None:
    """A held task whose node came back with it goes on as if nothing had happened."""
    for item in held:
        task = tasks.get(item.task_id)
        if task is None or task.held is None or not _is_live_here(task, item, node_id):
            continue
        if item.state in (HeldState.RUNNING, HeldState.STOPPING):
            report = Report(
                sequence=0,
                task_id=item.task_id,
                attempt=item.attempt,
                kind=ReportKind.RUNNING,
                at=context.clock.now(),
            )
            event = Reported(report=report, node_id=node_id)
            tasks[item.task_id] = await context.committer.apply(item.task_id, event)


def stop_order_of(task: Task) -> StopOrder | None:
    """Return the order that a live task has been given, if any."""
    if task.stop_reason is None:
        return None
    # To its worker, an attempt that goes elsewhere is one that the master has given up.
    reason = StopReason.STALE if task.stop_reason is StopReason.DRAIN else task.stop_reason
    return StopOrder(task_id=task.task_id, attempt=task.attempt, reason=reason)


def assignment_of(task: Task) -> Assignment:
    """Return what the worker gets to run the task's live attempt."""
    assert task.node_id is not None
    return Assignment(
        task_id=task.task_id,
        attempt=task.attempt,
        spec=_for_worker(task.spec),
        environment={
            **_array_env(task),
            "PODLING_TASK_ID": task.task_id,
            "PODLING_ATTEMPT": str(task.attempt),
            "PODLING_NODE_ID": task.node_id,
        },
    )


def _for_worker(spec: TaskSpec) -> TaskSpec:
    """A worker has no business with whom to tell of a task, or what belongs to it."""
    if spec.alerts or spec.depends_on or spec.array:
        return changed(spec, alerts=(), depends_on=(), array=None)
    return spec


def _array_env(task: Task) -> dict[str, str]:
    place = task.spec.array
    if place is None:
        return {}
    return {"PODLING_ARRAY_INDEX": str(place.index), "PODLING_ARRAY_COUNT": str(place.count)}
