"""One batch given to a store, in few words."""

from podling.core.task import Task
from podling.store.base import Store, TaskWrite, WriteStatus
from tests.builders import build_batch

APPLIED, CONFLICT, DUPLICATE = WriteStatus.APPLIED, WriteStatus.CONFLICT, WriteStatus.DUPLICATE


async def commit(store: Store, *writes: TaskWrite, **fields: object) -> list[WriteStatus]:
    return [result.status for result in await store.commit(build_batch(writes, **fields))]


async def stored(store: Store, task: Task) -> Task | None:
    return (await store.load_tasks([task.task_id])).get(task.task_id)
