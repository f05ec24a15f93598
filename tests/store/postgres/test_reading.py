"""Lists over much history: a page costs the same wherever it is, and no list reads a table."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from podling.core.task import TaskStatus
from podling.store.base import TaskQuery
from podling.store.postgres.lists import list_of
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW, build_batch, build_task, insertion

MANY = 6000
PAGE = 10
DEEP = (NOW + timedelta(seconds=MANY // 3), f"t{MANY // 3:06}")
MOST_READ = 100 * PAGE

# A tenth of everything in each queue, name and node, and of the completed a fiftieth failed or cancelled.
_HISTORY = """
WITH made AS (
    INSERT INTO task_specs (task_id, created_at, kind, name, queue, labels, body)
    SELECT 't' || lpad(i::text, 6, '0'), $1::timestamptz + i * interval '1 second', 'task',
           'name-' || i % 10, 'queue-' || i % 10,
           CASE WHEN i % 10 = 3 THEN jsonb_build_object('app', 'web', 'run', i::text) ELSE '{}' END, $2::json
    FROM generate_series(1, $3::integer) i
    RETURNING task_id, created_at, substr(task_id, 2)::integer AS i
)
INSERT INTO ended_tasks (task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at,
                         ended_at)
SELECT task_id, 4,
       CASE i % 50 WHEN 1 THEN 'failed' WHEN 2 THEN 'cancelled' ELSE 'completed' END,
       0, 'shape', 1, 'node-' || i % 10, created_at, created_at,
       now() + i * 3 / $3::integer * interval '1 month' - interval '1 month'
FROM made
"""


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


async def read(store: PostgresStore, query: TaskQuery) -> tuple[int, int]:
    """Return how many rows and index entries the page took, and how many it has; no table is read."""
    listing = list_of(query)
    async with store._pool.connection(settings=listing.settings) as connection:
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {listing.sql}", *listing.arguments)
    plan = json.loads(rows[0][0])[0]["Plan"]
    looks = [node for node in nodes_of(plan) if "Relation Name" in node or "Index Name" in node]
    assert "Seq Scan" not in {node["Node Type"] for node in looks}
    found = (
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in looks
    )
    return round(sum(found)), round(plan["Actual Rows"])


@pytest.fixture
async def history(store: PostgresStore, connection: asyncpg.Connection) -> None:
    """Ended tasks in several partitions, and others that wait and run."""
    await connection.execute(_HISTORY, NOW, '{"name": "x", "containers": [{"image": "i"}]}', MANY)
    after = NOW + timedelta(seconds=MANY)
    waiting = [build_task(created_at=after + timedelta(seconds=number)) for number in range(500)]
    await store.commit(build_batch(map(insertion, waiting)))
    await connection.execute("VACUUM ANALYZE")
    parts = await connection.fetch("SELECT DISTINCT tableoid FROM ended_tasks")
    assert len(parts) > 2


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"statuses": (TaskStatus.COMPLETED,)},
        {"statuses": (TaskStatus.FAILED,)},
        {"statuses": (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.RUNNING)},
        {"queue": "queue-4"},
        {"node_id": "node-4"},
        {"name": "name-4"},
        {"labels": {"app": "web"}},
        {"statuses": (TaskStatus.FAILED,), "queue": "queue-1"},
        {"statuses": (TaskStatus.COMPLETED,), "queue": "queue-4"},
        {"statuses": (TaskStatus.COMPLETED,), "node_id": "node-4"},
    ],
    ids=lambda filters: "+".join(filters) or "all",
)
async def test_a_deep_page_costs_what_the_first_one_costs(
    store: PostgresStore, history: None, filters: dict[str, Any]
) -> None:
    first, full = await read(store, TaskQuery(kind="task", limit=PAGE, **filters))
    deep, also_full = await read(store, TaskQuery(kind="task", limit=PAGE, after=DEEP, **filters))
    assert full == also_full == PAGE
    assert first < MOST_READ and deep < MOST_READ


@pytest.mark.parametrize(
    "filters",
    [
        {"queue": "nowhere"},
        {"node_id": "nowhere"},
        {"name": "nothing"},
        {"labels": {"run": "nothing"}},
        {"statuses": (TaskStatus.RUNNING,), "queue": "queue-4"},
        {"statuses": (TaskStatus.COMPLETED,), "name": "nothing"},
    ],
    ids=lambda filters: "+".join(filters),
)
async def test_what_there_is_nothing_of_is_not_looked_for_everywhere(
    store: PostgresStore, history: None, filters: dict[str, Any]
) -> None:
    looks, found = await read(store, TaskQuery(kind="task", limit=PAGE, **filters))
    assert (looks, found) == (0, 0)


async def test_one_of_many_is_found_by_its_label(store: PostgresStore, history: None) -> None:
    looks, found = await read(store, TaskQuery(kind="task", limit=PAGE, labels={"run": "1013"}))
    assert found == 1 and looks < PAGE
