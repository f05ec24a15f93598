"""What a store does for programs inside attempts: the one key, and checkpoints that are fenced by tasks."""

import asyncio
from dataclasses import replace

import pytest

from podling.core.coordination import Checkpoint
from podling.core.errors import StaleAttempt
from podling.core.task import Task, TaskStatus
from podling.store.base import Store, TaskWrite
from tests.builders import NOW, build_task
from tests.store.conformance.committing import APPLIED, commit

LIVE = {"attempt": 2, "node_id": "node-1", "scheduled_at": NOW}


async def test_whoever_asks_first_makes_the_key_of_all(store: Store) -> None:
    candidates = [bytes([number]) * 32 for number in range(8)]
    found = await asyncio.gather(*(store.task_keys.shared(candidate) for candidate in candidates))
    assert len(set(found)) == 1 and found[0] in candidates
    assert await store.task_keys.shared(bytes(32)) == found[0]


async def running(store: Store) -> Task:
    task = build_task(status=TaskStatus.RUNNING, started_at=NOW, **LIVE)
    assert await commit(store, TaskWrite(task=task)) == [APPLIED]
    return task


def asked(task: Task, data: str, attempt: int = 2) -> Checkpoint:
    return Checkpoint(
        checkpoint_id=f"{task.task_id}-{data}",
        task_id=task.task_id,
        attempt=attempt,
        sequence=0,
        at=NOW,
        data=data,
    )


async def test_only_the_live_attempt_saves(store: Store) -> None:
    task, checkpoints = await running(store), store.coordination.checkpoints
    saved = await checkpoints.save_from_inside(asked(task, "1"), 10)
    assert (saved.sequence, saved.attempt, saved.data) == (1, 2, "1")
    for attempt in (1, 3):
        with pytest.raises(StaleAttempt):
            await checkpoints.save_from_inside(asked(task, "2", attempt), 10)
    ended = replace(task, version=2, status=TaskStatus.COMPLETED, finished_at=NOW)
    assert await commit(store, TaskWrite(task=ended, expected_version=1, before=task.status)) == [APPLIED]
    with pytest.raises(StaleAttempt):
        await checkpoints.save_from_inside(asked(task, "3"), 10)
    with pytest.raises(StaleAttempt):
        await checkpoints.save_from_inside(asked(build_task(task_id="unknown"), "4"), 10)
    assert [kept.data for kept in await checkpoints.list(task.task_id)] == ["1"]


async def test_only_the_last_stay(store: Store) -> None:
    task, checkpoints = await running(store), store.coordination.checkpoints
    for number in range(5):
        await checkpoints.save_from_inside(asked(task, str(number)), 3)
    assert [kept.sequence for kept in await checkpoints.list(task.task_id)] == [3, 4, 5]
    assert [kept.sequence for kept in await checkpoints.newest(task.task_id, 2)] == [5, 4]
    assert [kept.sequence for kept in await checkpoints.newest(task.task_id, 2, before=4)] == [3]


async def test_what_a_task_said_is_kept_beyond_its_end(store: Store) -> None:
    task = await running(store)
    said = replace(task, version=2, progress=12.5, result='{"a": ["\\u00e9"]}')
    assert await commit(store, TaskWrite(task=said, expected_version=1, before=task.status)) == [APPLIED]
    assert (await store.snapshot()).live_tasks == (said,)
    ended = replace(said, version=3, status=TaskStatus.COMPLETED, finished_at=NOW)
    assert await commit(store, TaskWrite(task=ended, expected_version=2, before=said.status)) == [APPLIED]
    assert (await store.load_tasks([task.task_id]))[task.task_id] == ended
