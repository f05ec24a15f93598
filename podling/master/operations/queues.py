"""Queues: read, declared, limited, paused."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from podling.core.errors import Conflict, NotFound
from podling.core.queue import ALL_QUEUES, ALWAYS_THERE, Queue, QueuePolicy, check_queue
from podling.core.registries import registry_of
from podling.core.task import Task, TaskStatus
from podling.core.traffic import KEYS, RATE, Delay, Gate, Traffic
from podling.master.context import MasterContext
from podling.master.operations import registries
from podling.store.base import TaskQuery

LIVE = (TaskStatus.PENDING, TaskStatus.SCHEDULED, TaskStatus.RUNNING)
MOST_NAMED = 20  # tasks or schedules in a refusal
MOST_COUNTED_AHEAD = 10_000
COUNTED_SECONDS = 75.0  # a minute, and what clocks may differ


async def get(context: MasterContext, name: str) -> Queue:
    """Raises NotFound."""
    found = await context.store.queues.get(name)
    if found is None and name not in ALWAYS_THERE:
        raise NotFound.of("queue")
    return found or Queue(name=name)


async def list_(context: MasterContext, after: str, limit: int) -> Sequence[Queue]:
    """Return queues in the order of their names, from after that name."""
    return await context.store.queues.find(after, limit)


async def put(
    context: MasterContext, name: str, policy: QueuePolicy, paused: bool | None = None
) -> tuple[Queue, bool]:
    """Say how much of the queue may run; return it, and whether it is new. Raises InvalidInput."""
    check_queue(name, policy)
    is_new = await context.store.queues.save(name, policy, paused)
    await context.queues.learn()
    return await get(context, name), is_new


async def pause(context: MasterContext, name: str, paused: bool) -> Queue:
    """Start nothing of the queue any more, or go on. Raises NotFound."""
    if name in ALWAYS_THERE:
        await context.store.queues.declare([name])
    if not await context.store.queues.pause(name, paused):
        raise NotFound.of("queue")
    await context.queues.learn()
    return await get(context, name)


async def remove(context: MasterContext, name: str) -> None:
    """Take the queue off the record, with all that is said of it; its ended tasks stay.

    Raises NotFound, Conflict while it has tasks that have not ended, or a schedule names it.
    """
    await get(context, name)
    if name in ALWAYS_THERE:
        message = (
            f"queue {name} is always there; take its limits off with PUT (podling queue set), or resume it"
        )
        raise Conflict(message, code="queue_always_there")
    await _check_empty(context, name)
    await _check_unnamed(context, name)
    if not await context.store.queues.remove(name):
        raise NotFound.of("queue")
    await context.queues.learn()


async def _check_empty(context: MasterContext, name: str) -> None:
    query = TaskQuery(queue=name, statuses=LIVE, limit=MOST_NAMED + 1, fresh=True)
    tasks = await context.store.list_tasks(query)
    if tasks:
        number = f"more than {MOST_NAMED}" if len(tasks) > MOST_NAMED else str(len(tasks))
        raise Conflict(
            f"queue {name} still has tasks that have not ended, {number} of them; wait or cancel them"
            f" (podling ps --queue {name}), then remove it",
            code="queue_busy",
            details={"queue": name, "taskIds": [task.task_id for task in tasks[:MOST_NAMED]]},
        )


async def _check_unnamed(context: MasterContext, name: str) -> None:
    entries = await context.store.schedules.load()
    naming = sorted(entry.schedule.name for entry in entries if entry.schedule.task.queue == name)
    if naming:
        raise Conflict(
            f"schedule {naming[0]} submits to queue {name}; give it another queue or remove it"
            " (podling cron remove), then remove the queue",
            code="queue_named",
            details={"queue": name, "schedules": naming[:MOST_NAMED]},
        )


async def wait_of(context: MasterContext, task: Task) -> tuple[int, Delay | None]:
    """Return how many tasks are before a due one where it waits, and what its queue, key or registry says."""
    place = await context.store.lines.place(task.task_id, MOST_COUNTED_AHEAD)
    ahead = place[1] if place else await context.store.ready_ahead_of(task, MOST_COUNTED_AHEAD)
    rules, door = context.queues.rules, context.registries
    traffic = context.traffic if context.leads else await traffic_of(context, {task.spec.queue, ALL_QUEUES})
    if place and not context.leads and registry_of(place[0].removeprefix(KEYS)) is not None:
        door = await registries.seen_for(context, task)
    return ahead, Gate(rules, context.view.flight, traffic, context.clock.now(), door).delay(task)


def delays(context: MasterContext) -> Callable[[Task], Delay | None]:
    """Return what says of a due task why its queue, key or registry holds it back, as far as is known here.

    Only the leader knows how many have begun in a minute.
    """
    door = context.registries if context.registries.hold else None
    gate = Gate(context.queues.rules, context.view.flight, context.traffic, context.clock.now(), door)

    def of(task: Task) -> Delay | None:
        if not context.queues.policies and door is None and task.spec.concurrency_key is None:
            return None
        delay = gate.delay(task)
        return delay if delay is None or context.leads or delay.code != RATE else None

    return of


async def traffic_of(context: MasterContext, queues: AbstractSet[str]) -> Traffic:
    """Count the starts of the last minute where queues are bound by them. Raises StoreUnavailable."""
    traffic, rated = Traffic(), context.queues.rules.rated & queues
    if rated:
        traffic.count(rated)
        wanted = None if ALL_QUEUES in rated else sorted(rated)
        for start in await context.store.lines.starts(wanted, COUNTED_SECONDS):
            traffic.began(start.queue, start.task_id, start.attempt, start.at)
    return traffic
