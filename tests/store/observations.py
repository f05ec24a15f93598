"""Everything that can be seen of a store, in a form in which two stores can be compared."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from podling.store.base import Store

MANY = 10_000

Observation = Mapping[str, Any]


async def observe(store: Store, now: datetime, task_ids: Collection[str]) -> Observation:
    """Return what the whole store shows, and of these tasks all."""
    snapshot = await store.snapshot()
    return {
        "tasks": dict(await store.load_tasks(list(task_ids))),
        "ready": await _ids(store.ready_page, MANY),
        "next_run_at": await store.next_run_at(),
        "overdue": list(await store.overdue(now, MANY)),
        "next_overdue_at": await store.next_overdue_at(),
        "counts": dict(await store.count_tasks()),
        "nodes": list(await store.load_nodes()),
        "beats": {beat.node_id: beat for beat in await store.load_beats()},
        "masters": list(await store.load_masters()),
        "leadership": await store.leadership(),
        "snapshot_nodes": snapshot.nodes,
        "snapshot_tasks": {task.task_id: task for task in snapshot.live_tasks},
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


async def _ids(page: Callable[[int], Awaitable[Any]], limit: int) -> list[str]:
    return [task.task_id for task in await page(limit)]
