"""Everything that can be seen of a store, in a form in which two stores can be compared."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from podling.core.task import Task
from podling.store.base import Store

MANY = 10_000

Observation = Mapping[str, Any]


async def observe_queue(store: Store, now: datetime, task_ids: Collection[str]) -> Observation:
    """Return what the store shows of these tasks, and of all in their order."""
    return await _together(
        tasks=_mapping(store.load_tasks(list(task_ids))),
        ready=_ids(store.ready_page(MANY)),
        blocked=_firsts(store.blocked_shapes()),
        next_run_at=store.next_run_at(),
        overdue=store.overdue(now, MANY),
        next_overdue_at=store.next_overdue_at(),
        counts=_mapping(store.count_tasks()),
    )


async def observe_cluster(store: Store) -> Observation:
    """Return what the store shows of masters, nodes and a view's start."""
    seen = await _together(
        nodes=store.load_nodes(),
        beats=store.load_beats(),
        masters=store.load_masters(),
        leadership=store.leadership(),
        snapshot=store.snapshot(),
    )
    snapshot = seen.pop("snapshot")
    return seen | {
        "beats": {beat.node_id: beat for beat in seen["beats"]},
        "snapshot_nodes": snapshot.nodes,
        "live_tasks": {task.task_id: task for task in snapshot.live_tasks},
        "cursors": dict(snapshot.cursors),
    }


async def observe_task(store: Store, task_id: str) -> Observation:
    """Return the task's rows beside its state."""
    return {
        "attempts": list(await store.load_attempts(task_id)),
        "events": list(await store.load_events(task_id)),
    }


async def observe_feed(store: Store, cursors: Mapping[str, int], limit: int) -> Observation:
    """Return each master's batches after the cursors; masters may be told in any order."""
    feed: dict[str, list[Any]] = {}
    for batch in await store.changes_after(cursors, limit):
        feed.setdefault(batch.master_id, []).append((batch.number, batch.changes))
    return feed


async def _together(**asked: Awaitable[Any]) -> dict[str, Any]:
    """Wait for all answers at once; lists become plain lists."""
    answers = await asyncio.gather(*asked.values())
    plain = (list(answer) if isinstance(answer, list | tuple) else answer for answer in answers)
    return dict(zip(asked, plain, strict=True))


async def _mapping(asked: Awaitable[Mapping[Any, Any]]) -> dict[Any, Any]:
    return dict(await asked)


async def _firsts(asked: Awaitable[Sequence[Task]]) -> dict[str, str]:
    """Return the id of the first task by shape."""
    return {task.shape: task.task_id for task in await asked}


async def _ids(asked: Awaitable[Sequence[Task]]) -> list[str]:
    return [task.task_id for task in await asked]
