"""What the programs inside attempts say: how far they are, what came of it, where another try goes on."""

from collections.abc import Sequence
from contextlib import suppress

from podling.core.coordination import Checkpoint
from podling.core.errors import Conflict, NotFound, StaleAttempt
from podling.core.lifecycle import Announce
from podling.core.protocol import AttemptKey
from podling.core.task import Task
from podling.master.context import MasterContext
from podling.master.operations import tasks
from podling.wire.checkpoints import CheckpointWish

MOST_KEPT = 100
"""Checkpoints of one task: each may be as large as any value."""


async def check_live(context: MasterContext, key: AttemptKey) -> None:
    """Raise StaleAttempt unless the attempt is live, as far as this master has heard."""
    task = context.view.task(key.task_id)
    if task is None or task.attempt != key.attempt:
        task = (await context.store.load_tasks([key.task_id])).get(key.task_id)
    if task is None or task.attempt != key.attempt or not task.status.is_live:
        raise StaleAttempt(
            f"attempt {key.attempt} of task {key.task_id} is over, and its credential ended with it",
            details={"taskId": key.task_id, "attempt": key.attempt},
        )


async def announce(
    context: MasterContext, key: AttemptKey, *, progress: float | None = None, result: str | None = None
) -> Task:
    """Keep what an attempt says of itself. Raises StaleAttempt, StoreUnavailable."""
    said = Announce(attempt=key.attempt, progress=progress, result=result)
    try:
        return await context.committer.apply(key.task_id, said)
    except NotFound:
        raise StaleAttempt(f"the task {key.task_id} is not there any more") from None


async def save(context: MasterContext, key: AttemptKey, wish: CheckpointWish) -> Checkpoint:
    """Keep a checkpoint of the live attempt, and its progress as the task's.

    Raises StaleAttempt, InvalidInput, StoreUnavailable.
    """
    saved = await context.coordination.checkpoints.save_from_inside(
        key.task_id,
        wish.data,
        progress=wish.progress,
        estimated_seconds_remaining=wish.estimated_seconds_remaining,
        attempt=key.attempt,
        keep=MOST_KEPT,
    )
    context.measures.checkpoints.add()
    if saved.progress is not None:
        with suppress(Conflict):  # it ended just then, and the checkpoint is there all the same
            await announce(context, key, progress=saved.progress)
    return saved


async def newest(
    context: MasterContext, task_id: str, limit: int, before: int | None = None
) -> Sequence[Checkpoint]:
    """Return the task's checkpoints, the newest first. Raises NotFound."""
    await tasks.get(context, task_id)
    return await context.coordination.checkpoints.newest(task_id, limit, before)


async def remove(context: MasterContext, task_id: str, keep: int) -> int:
    """Remove all but the last `keep`; return how many. Raises NotFound."""
    await tasks.get(context, task_id)
    return await context.coordination.checkpoints.cleanup(task_id, keep)
