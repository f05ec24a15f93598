"""The plans of what runs all the time, after the worst that statistics can suffer."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from podling.core.lifecycle import Cancel
from podling.core.task import Task, TaskEvent
from podling.store.postgres.diagnosis import SETTINGS
from podling.store.postgres.queries import load
from podling.store.postgres.rows import (
    attempt_columns,
    live_row,
    rows_to_json,
    spec_row,
    to_json,
)
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW, assignment, build_batch, build_node, build_task, ended, happening, insertion

TASKS, COMMIT, NODES, DIAGNOSIS = load("tasks"), load("commit"), load("nodes"), load("diagnosis")
LINES = load("lines")
MANY = 2000


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


async def explain(connection: Any, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    return list(nodes_of(json.loads(rows[0][0])[0]["Plan"]))


async def explain_run(connection: Any, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    """Run it, and tell what it read."""
    rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
    return list(nodes_of(json.loads(rows[0][0])[0]["Plan"]))


def rows_read(nodes: list[dict[str, Any]]) -> int:
    """Return how many rows of tables and indexes were looked at."""
    reads = [node for node in nodes if "Relation Name" in node and node["Node Type"] != "ModifyTable"]
    return sum(
        int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in reads
    )


def scans(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the tables that are read from end to end."""
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}


def walks(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the tables of which a whole index is read, not only the rows that are looked for."""
    reads = [node for node in nodes if node["Node Type"] in ("Index Scan", "Index Only Scan")]
    return {node["Relation Name"] for node in reads if "Index Cond" not in node}


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}


async def fill(store: PostgresStore) -> list[Task]:
    tasks = [build_task(priority=number % 3) for number in range(MANY)]
    await store.commit(build_batch(map(insertion, tasks)))
    return tasks


@pytest.fixture
async def churned(store: PostgresStore, connection: asyncpg.Connection) -> list[Task]:
    """Fill, drain, vacuum and analyze while empty, fill: statistics say that there is nothing."""
    drained = await fill(store)
    await store.commit(build_batch(happening(task, Cancel()) for task in drained))
    for table in ("live_tasks", "attempts", "task_specs"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    return await fill(store)


async def test_the_ready_page_reads_one_index_in_its_order(store: PostgresStore, churned: list[Task]) -> None:
    async with store._pool.connection() as connection:
        nodes = await explain(connection, TASKS.ready, 500, [churned[0].task_id])
    assert indexes(nodes) == {"live_tasks_ready"}
    assert not [node for node in nodes if node["Node Type"] == "Sort"]


async def test_the_next_ready_page_is_read_no_further_than_it_is_long(
    store: PostgresStore, churned: list[Task]
) -> None:
    async with store._pool.connection() as connection:
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {TASKS.ready}", 100, [])
    [read] = [node for node in nodes_of(json.loads(rows[0][0])[0]["Plan"]) if "Index Name" in node]
    assert read["Actual Rows"] + read.get("Rows Removed by Filter", 0) == 100


async def test_a_doctor_reads_the_heads_of_the_queue(
    store: PostgresStore, connection: asyncpg.Connection, churned: list[Task]
) -> None:
    blocked = ", ".join(f"'{task.task_id}'" for task in churned[: MANY // 2])
    await connection.execute(f"UPDATE live_tasks SET blocked = true WHERE task_id IN ({blocked})")
    for sql, index, arguments in (
        (DIAGNOSIS.ready, "live_tasks_ready", (100, 10)),
        (DIAGNOSIS.blocked, "live_tasks_blocked", (20, 100, 50)),
    ):
        async with store._pool.transaction(*SETTINGS) as pooled:
            rows = await pooled.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
        nodes = list(nodes_of(json.loads(rows[0][0])[0]["Plan"]))
        assert indexes(nodes) == {index}
        read = [node["Actual Rows"] * node["Actual Loops"] for node in nodes if "Index Name" in node]
        assert sum(read) <= 120


async def test_no_statement_of_a_commit_reads_a_whole_table(
    store: PostgresStore, churned: list[Task]
) -> None:
    chosen = churned[:200]
    ids = [task.task_id for task in chosen]
    guarded = [live_row(task, NOW) | {"expected_version": 1} for task in chosen]
    attempts = attempt_columns([row for task in chosen for row in assignment(task).attempts])
    bodies = [to_json(task.spec) for task in chosen]
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (
            COMMIT.insert_tasks,
            (rows_to_json(spec_row(task) | live_row(task, NOW) for task in chosen), bodies),
        ),
        (COMMIT.move_tasks, (to_json(guarded), ids)),
        (COMMIT.lock_ended, (ids,)),
        (COMMIT.update_ended, (to_json(guarded), ids)),
        (COMMIT.move_all, (to_json(guarded), ids, "{}", *attempts, [], [], [], "master-1", 1)),
        (COMMIT.record, ("master-1", 1, "{}", *attempts, [], [], [])),
    ]
    async with store._pool.connection() as connection:
        for sql, arguments in statements:
            nodes = await explain(connection, sql, *arguments)
            assert scans(nodes) | walks(nodes) == set(), sql


async def test_no_pass_of_a_loop_reads_a_whole_table(store: PostgresStore, churned: list[Task]) -> None:
    last = churned[-1]
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (TASKS.promote, (NOW, 500)),
        (TASKS.next_run_at, ()),
        (TASKS.overdue, (NOW, 500, None, None)),
        (TASKS.next_overdue_at, ()),
        (TASKS.unblock, (["shape"], [500])),
        (TASKS.blocked_shapes, ()),
        (TASKS.block, ([last.task_id],)),
        (TASKS.ready_ahead_of, (0, NOW, NOW, last.task_id, 1000)),
        (TASKS.changes_after, (["master-1"], [5], 100)),
        (TASKS.live, ()),
        (TASKS.count_pending, (1000,)),
        (TASKS.count, (1000, 1000)),
        (LINES.depths, (1000,)),
        (NODES.beat, (["node-1"], [1], NOW)),
        (NODES.mark_lost, ("node-1", 1)),
    ]
    async with store._pool.connection() as connection:
        for sql, arguments in statements:
            assert scans(await explain(connection, sql, *arguments)) == set(), sql


async def test_look_ups_by_ids_read_nothing_else(store: PostgresStore, churned: list[Task]) -> None:
    ids = [task.task_id for task in churned[:500]]
    statements: list[tuple[str, tuple[Any, ...]]] = [
        (TASKS.load, (ids,)),
        (TASKS.specs, (ids,)),
        (TASKS.block, (ids,)),
        (TASKS.attempts, (ids[0], 0, 500)),
        (TASKS.events, (ids[0],)),
        (TASKS.events_of_type, (ids, "restored")),
        (COMMIT.key_owners, (ids,)),
        (NODES.beat, (["node-1"], [1], NOW)),
        (NODES.mark_lost, ("node-1", 1)),
    ]
    async with store._pool.connection() as connection:
        for sql, arguments in statements:
            nodes = await explain(connection, sql, *arguments)
            assert scans(nodes) | walks(nodes) == set(), sql


async def test_the_overdue_are_found_by_their_index(store: PostgresStore, churned: list[Task]) -> None:
    async with store._pool.connection() as connection:
        for after in ((None, None), (NOW - timedelta(seconds=9), churned[0].task_id)):
            nodes = await explain(connection, TASKS.overdue, NOW, 10, *after)
            assert indexes(nodes) == {"live_tasks_overdue"}
            [condition] = [node["Index Cond"] for node in nodes if "Index Cond" in node]
            assert ">" in condition, "each page would read those before it again"


async def test_events_of_many_tasks_are_found_by_their_index(
    store: PostgresStore, churned: list[Task]
) -> None:
    await store.add_events(
        [TaskEvent(task_id=task.task_id, at=NOW, type="note", actor="a", message="m") for task in churned]
    )
    ids = [task.task_id for task in churned[:200]]
    async with store._pool.connection() as connection:
        nodes = await explain(connection, TASKS.events_of_type, ids, "restored")
    assert indexes(nodes) == {"task_events_by_task"}


@pytest.mark.parametrize(
    "condition",
    ["status = 'scheduled'", "status = 'completed'", "node_id = 'node-1'", "task_id = 'task-1'"],
)
async def test_sql_look_ups_of_tasks_scan_no_table(
    store: PostgresStore, connection: asyncpg.Connection, condition: str
) -> None:
    cancelled = await fill(store)
    await store.commit(build_batch(happening(task, Cancel()) for task in cancelled))
    assigned = [assignment(task) for task in (await fill(store))[:10]]
    await store.commit(build_batch(assigned))
    await store.commit(build_batch(happening(write.task, ended(write.task)) for write in assigned[:5]))
    await connection.execute("VACUUM ANALYZE")
    scanned = scans(await explain(connection, f"SELECT * FROM tasks WHERE {condition}"))
    # The partitions of coming months are empty; reading one costs nothing.
    sizes = [await connection.fetchval(f"SELECT count(*) FROM {name}") for name in scanned]
    assert not any(sizes)


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("status = 'offline'", "node_records_by_status"),
        ("last_heartbeat < $1", "node_beats_by_age"),
    ],
)
async def test_sql_look_ups_of_nodes_use_an_index(
    store: PostgresStore, connection: asyncpg.Connection, condition: str, index: str
) -> None:
    for number in range(300):
        await store.save_node(build_node(f"node-{number}", last_heartbeat=NOW + timedelta(seconds=number)))
    await connection.execute("VACUUM ANALYZE node_records")
    await connection.execute("VACUUM ANALYZE node_beats")
    arguments = [NOW] if "$1" in condition else []
    nodes = await explain(connection, f"SELECT node_id FROM nodes WHERE {condition}", *arguments)
    assert index in indexes(nodes)


async def test_the_views_show_the_references_columns(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    task = build_task(name="shown")
    await store.commit(build_batch([insertion(task)]))
    await store.commit(build_batch([assignment(task)]))
    await store.save_node(build_node("node-1"))
    row = await connection.fetchrow(
        "SELECT task_id, name, image, env, status, node_id, container_id, created_at, started_at, "
        "finished_at, error, pg_typeof(env)::text AS env_type FROM tasks"
    )
    assert (row["task_id"], row["name"], row["image"]) == (task.task_id, "shown", "busybox:local")
    assert (row["status"], row["node_id"], row["env_type"]) == ("scheduled", "node-1", "jsonb")
    node = await connection.fetchrow(
        "SELECT node_id, hostname, port, status, capacity, running_tasks, last_heartbeat FROM nodes"
    )
    assert tuple(node) == ("node-1", "node-1.local", 8081, "online", 10, 1, NOW)
