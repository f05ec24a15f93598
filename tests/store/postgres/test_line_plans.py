"""What is read of lines in which tasks wait: as much as is asked for, however long they are."""

from typing import Any

import asyncpg
import pytest

from podling.store.postgres.queries import load
from podling.store.postgres.store import PostgresStore
from tests.builders import assignment, build_batch, build_task, insertion
from tests.store.postgres.test_plans import explain_run, indexes, rows_read

TASKS, LINES = load("tasks"), load("lines")
QUEUES = 10
PAGE = 500
FILL = """
    INSERT INTO live_tasks
    SELECT (jsonb_populate_record(l, jsonb_build_object(
        'task_id', l.task_id || '-' || n, 'blocked', true, 'line', 'q' || n % $1 || '/shape'
    ))).*
    FROM live_tasks l, generate_series(1, $2) n
"""


@pytest.fixture
async def lined(store: PostgresStore, connection: asyncpg.Connection, many: int) -> list[str]:
    """Fill lines of which statistics say that there is nothing; return their names."""
    await connection.execute("VACUUM ANALYZE live_tasks")
    await store.commit(build_batch([insertion(build_task())]))
    await connection.execute(FILL, QUEUES, many)
    return [f"q{number}/shape" for number in range(QUEUES)]


@pytest.mark.parametrize("many", [20_000])
async def test_what_a_pass_reads_does_not_grow_with_the_lines(store: PostgresStore, lined: list[str]) -> None:
    async with store._pool.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        ready = await explain_run(connection, TASKS.ready, PAGE, [])
        heads = await explain_run(connection, LINES.heads, lined, [PAGE // QUEUES] * QUEUES)
        firsts = await explain_run(connection, LINES.firsts, "", PAGE)
        recall = await explain_run(connection, LINES.recall, lined[:2], [20, 20])
        place = await explain_run(connection, LINES.place, await _last(connection), 1000)
        await transaction.rollback()
    assert indexes(heads) == indexes(firsts) == {"live_tasks_lines"}
    assert rows_read(heads) == PAGE
    assert rows_read(firsts) <= 3 * QUEUES
    assert rows_read(recall) <= 4 * 40
    assert rows_read(place) <= 1000 + 2
    assert rows_read(ready) == 1  # the one that waits in no line


async def _last(connection: asyncpg.Connection) -> str:
    return str(
        await connection.fetchval(
            "SELECT task_id FROM live_tasks WHERE line = 'q0/shape' ORDER BY task_id DESC LIMIT 1"
        )
    )


async def test_of_a_busy_minute_only_the_starts_that_are_asked_for_leave_the_database(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = [build_task(queue="busy") for _ in range(50)]
    rated = build_task(queue="rated")
    await store.commit(build_batch(map(insertion, [*busy, rated])))
    await store.commit(build_batch(map(assignment, [*busy, rated])))
    fetched: list[int] = []
    fetch = store._pool.fetch

    async def counted(sql: str, *arguments: Any) -> Any:
        rows = await fetch(sql, *arguments)
        fetched.append(len(rows))
        return rows

    monkeypatch.setattr(store._pool, "fetch", counted)
    (start,) = await store.lines.starts(["rated"], 60)
    assert (start.queue, start.task_id, start.attempt) == ("rated", rated.task_id, 1)
    assert fetched == [1]
