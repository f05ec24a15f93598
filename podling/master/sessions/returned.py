"""What a worker that comes back shows about the time it was away, told in the timelines."""

from collections.abc import Mapping, Sequence

from podling.core.protocol import HeldAttempt, HeldState
from podling.core.task import AttemptStatus, Task, TaskEvent
from podling.core.transition import Actor
from podling.master.context import MasterContext

OVERLAP = "overlap"
_RUNS = frozenset({HeldState.RUNNING, HeldState.STOPPING})


async def note_returned(
    context: MasterContext,
    node_id: str,
    held: Sequence[HeldAttempt],
    tasks: Mapping[str, Task],
    restarted: bool,
) -> None:
    """Tell of what a restarted worker adopted, and of attempts that went on after they were given up."""
    events = []
    for item in held:
        task = tasks.get(item.task_id)
        if task is None:
            continue
        if task.attempt == item.attempt and task.status.is_live and task.node_id == node_id:
            if restarted and item.state in _RUNS:
                events.append(_adopted(context, node_id, item))
        elif task.attempt > item.attempt and await _is_overlap(context, item, restarted):
            events.append(_overlap(context, node_id, item))
    if events:
        await context.store.add_events(events)


async def _is_overlap(context: MasterContext, item: HeldAttempt, restarted: bool) -> bool:
    """Whether the attempt runs, or may have run, beside a later one. Told once.

    An agent that lived has ended it before its lease did; one that was dead could not.
    """
    if not (item.state in _RUNS or (restarted and item.state is HeldState.ENDED)):
        return False
    rows = await context.store.load_attempts(item.task_id)
    if not any(row.attempt == item.attempt and row.status is AttemptStatus.LOST for row in rows):
        return False
    told = await context.store.load_events(item.task_id)
    return not any(event.type == OVERLAP and event.attempt == item.attempt for event in told)


def _adopted(context: MasterContext, node_id: str, item: HeldAttempt) -> TaskEvent:
    message = f"the restarted worker of node {node_id} adopted attempt {item.attempt}, which goes on"
    return _line(context, node_id, item, "adopted", message)


def _overlap(context: MasterContext, node_id: str, item: HeldAttempt) -> TaskEvent:
    if item.state is HeldState.ENDED:
        message = (
            f"attempt {item.attempt} went on on node {node_id} without its worker after it was given up,"
            f" so it may have run beside attempt {item.attempt + 1}"
        )
    else:
        message = (
            f"attempt {item.attempt} still ran when node {node_id} came back, beside attempt"
            f" {item.attempt + 1}; it is stopped now"
        )
    return _line(context, node_id, item, OVERLAP, message)


def _line(context: MasterContext, node_id: str, item: HeldAttempt, type_: str, message: str) -> TaskEvent:
    return TaskEvent(
        task_id=item.task_id,
        at=context.clock.now(),
        type=type_,
        actor=Actor.WORKER,
        message=message,
        attempt=item.attempt,
        details={"nodeId": node_id},
    )
