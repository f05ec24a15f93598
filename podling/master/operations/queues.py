"""Queues: read, declared, limited, paused."""

from collections.abc import Sequence

from podling.core.errors import NotFound
from podling.core.queue import ALWAYS_THERE, Queue, QueuePolicy, check_queue
from podling.master.context import MasterContext


async def get(context: MasterContext, name: str) -> Queue:
    """Raises NotFound."""
    found = await context.store.queues.get(name)
    if found is None and name not in ALWAYS_THERE:
        raise NotFound.of("queue")
    return found or Queue(name=name)


async def list_(context: MasterContext, after: str, limit: int) -> Sequence[Queue]:
    """Return queues in the order of their names, from after that name."""
    return await context.store.queues.find(after, limit)


async def put(context: MasterContext, name: str, policy: QueuePolicy) -> tuple[Queue, bool]:
    """Say how much of the queue may run; return it, and whether it is new. Raises InvalidInput."""
    check_queue(name, policy)
    is_new = await context.store.queues.save(name, policy)
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
