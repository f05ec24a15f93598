"""The plans of what is asked of the inbox, with statistics that say that it is empty."""

import json
from typing import Any

import asyncpg
import pytest

from podling.store.postgres.queries import load
from podling.store.postgres.store import PostgresStore
from tests.store.postgres.test_plans import explain, indexes, scans, walks

SQL = load("inbox")
MANY = 5000
SUBMITTED = f"""
SELECT count(*)
FROM podling_submit_many(
    (SELECT jsonb_agg(jsonb_build_object('name', 'a'))
     FROM generate_series(1, {MANY}))
)
"""


@pytest.fixture
async def churned(store: PostgresStore, connection: asyncpg.Connection) -> list[int]:
    """Fill, drain, vacuum and analyze while empty, fill; return the ids."""
    await connection.execute(SUBMITTED)
    await connection.execute("DELETE FROM inbox")
    await connection.execute("VACUUM ANALYZE inbox")
    await connection.execute(SUBMITTED)
    return [row[0] for row in await connection.fetch("SELECT inbox_id FROM inbox ORDER BY inbox_id")]


@pytest.mark.parametrize("name", ["page", "remove", "take"])
async def test_nothing_reads_the_whole_inbox(store: PostgresStore, churned: list[int], name: str) -> None:
    some = churned[:500]
    arguments: dict[str, tuple[Any, ...]] = {
        "page": (0, 500, 8_000_000),
        "remove": (some,),
        "take": (some, some[:3]),
    }
    async with store._pool.connection() as connection:
        nodes = await explain(connection, getattr(SQL, name), *arguments[name])
    assert "inbox" not in scans(nodes) | walks(nodes)
    assert "inbox_pkey" in indexes(nodes)


async def test_a_page_needs_no_sort(store: PostgresStore, churned: list[int]) -> None:
    async with store._pool.connection() as connection:
        nodes = await explain(connection, SQL.page, 0, 500, 8_000_000)
    assert not [node for node in nodes if node["Node Type"] == "Sort"]


async def test_a_page_makes_no_text_of_what_it_leaves_for_the_next_one(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    """200 bodies of a megabyte each, of which it takes two, and reads as many."""
    await connection.execute(
        """
        INSERT INTO inbox (kind, task_id, body)
        SELECT 'submit', 'task-' || number, large
        FROM generate_series(1, 200) AS number,
             (SELECT jsonb_build_object('name', repeat('x', 1000000)) AS large OFFSET 0) AS one
        """
    )
    async with store._pool.connection() as pooled:
        found = await pooled.fetch(SQL.page, 0, 200, 2_000_000)
        told = await pooled.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL.page}", 0, 200, 2_000_000)
    assert [len(row["body"]) for row in found] == [1_000_012] * 2
    plan = json.loads(told)[0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200
