"""What is removed in time, and hints at what others commit."""

import asyncio
from datetime import timedelta

import pytest

from podling.core.lifecycle import Cancel
from podling.core.task import TaskEvent
from podling.store.base import LogTail, PeerMessage, Store, TaskQuery, TaskWrite, WriteStatus
from tests.builders import NOW, assignment, build_batch, build_task, ended, happening, insertion

PATIENCE_SECONDS = 20


async def test_maintenance_keeps_what_is_young_or_has_not_ended(store: Store) -> None:
    waiting, gone = build_task(), build_task()
    await store.commit(build_batch([insertion(waiting), insertion(gone)]))
    cancelled = happening(gone, Cancel())
    await store.commit(build_batch([cancelled]))
    await store.maintain()
    await store.maintain(timedelta(hours=1))
    expected = {waiting.task_id: waiting, gone.task_id: cancelled.task}
    assert await store.load_tasks(list(expected)) == expected


async def test_maintenance_removes_old_tasks_with_all_that_belongs_to_them(store: Store) -> None:
    waiting, gone = build_task(), build_task(idempotency_key="key")
    line = TaskEvent(task_id=gone.task_id, at=NOW, type="note", actor="client", message="m")
    await store.commit(build_batch([insertion(waiting), TaskWrite(task=gone, events=(line,), body_hash="h")]))
    assigned = assignment(gone)
    await store.commit(build_batch([assigned, happening(assigned.task, ended(assigned.task))]))
    await store.save_tails([LogTail(task_id=gone.task_id, attempt=1, frames=b"")])
    await store.maintain(timedelta(0))
    assert await store.load_tasks([waiting.task_id, gone.task_id]) == {waiting.task_id: waiting}
    assert list(await store.list_tasks(TaskQuery())) == [waiting]
    assert list(await store.load_attempts(gone.task_id)) == []
    assert list(await store.load_events(gone.task_id)) == []
    assert await store.load_tail(gone.task_id, 1) is None
    assert sum((await store.count_tasks()).values()) == 1


async def test_a_key_outlives_its_task(store: Store) -> None:
    task = build_task(idempotency_key="key")
    await store.commit(build_batch([insertion(task, "h")]))
    await store.commit(build_batch([happening(task, Cancel())]))
    await store.maintain(timedelta(0))
    [result] = await store.commit(build_batch([insertion(build_task(idempotency_key="key"), "h")]))
    assert (result.status, result.task_id, result.same_body) == (WriteStatus.DUPLICATE, task.task_id, True)


async def test_a_listener_is_called_at_first_and_after_a_commit(store: Store) -> None:
    hinted = asyncio.Event()
    listener = asyncio.create_task(store.listen(hinted.set))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await hinted.wait()
            hinted.clear()
            await store.commit(build_batch([insertion(build_task())]))
            await hinted.wait()
    finally:
        listener.cancel()
        await asyncio.wait([listener])
    assert listener.cancelled()


@pytest.mark.parametrize("what", ["a message", "a resignation"])
async def test_a_listener_is_called_when_another_master_says_or_leaves_something(
    store: Store, what: str
) -> None:
    called = asyncio.Event()
    epoch = await store.take_leadership("m1", await store.leadership())
    assert epoch is not None
    listener = asyncio.create_task(store.listen(lambda: None, called.set))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await called.wait()
            called.clear()
            if what == "a message":
                await store.post([PeerMessage(recipient="m1", body="hello")])
            else:
                await store.resign_leadership("m1", epoch)
            await called.wait()
    finally:
        listener.cancel()
        await asyncio.wait([listener])


async def test_what_ran_out_of_coordination_is_removed(store: Store) -> None:
    await store.coordination.cache.put("short", "1", 0.001)
    await store.coordination.cache.put("ever", "1", None)
    async with asyncio.timeout(10):
        while await store.coordination.cache.get("short") is not None:
            await asyncio.sleep(0.001)
    await store.maintain()
    assert await store.coordination.cache.prune("") == 0, "it was removed before"
    assert await store.coordination.cache.get("ever") == "1"
