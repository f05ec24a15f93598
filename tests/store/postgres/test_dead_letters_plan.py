"""A page of dead letters costs what it holds, however many there are; and what had failed before is there."""

from dataclasses import replace

import asyncpg
import pytest

from podling.core.dead_letters import letter_of
from podling.store.ports.dead_letters import DeadLetterQuery
from podling.store.postgres.dead_letters import statement
from podling.store.postgres.migrations import shipped
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW
from tests.store.conformance.committing import commit
from tests.store.conformance.test_dead_letters import fail, replay_of
from tests.store.postgres.test_plans import explain, indexes, scans

FILL = """
INSERT INTO dead_letters (task_id, at, queue, reason, error_code)
SELECT 'letter-' || n, now() - n * interval '1 second',
       'queue-' || n % 20, 'reason-' || n % 5, 'code-' || n % 10
FROM generate_series(1, 5000) AS n
"""
WALKED = {
    "dead_letters_newest": DeadLetterQuery(),
    "dead_letters_by_queue": DeadLetterQuery(queue="queue-1", reason="reason-1", error_code="code-1"),
    "dead_letters_by_reason": DeadLetterQuery(reason="reason-1"),
    "dead_letters_by_error_code": DeadLetterQuery(error_code="code-1", reason="reason-1"),
}


@pytest.mark.parametrize("index", WALKED)
async def test_a_page_is_read_from_its_place(
    store: PostgresStore, connection: asyncpg.Connection, index: str
) -> None:
    await connection.execute(FILL)
    await connection.execute("ANALYZE dead_letters")
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")  # as the pool does
    for after in (None, (NOW, "letter-7")):
        sql, arguments = statement(replace(WALKED[index], after=after, limit=50))
        plan = await explain(connection, sql, *arguments)
        assert indexes(plan) == {index} and not scans(plan)
        assert not any(node["Node Type"] in ("Sort", "Incremental Sort") for node in plan)


async def test_what_had_failed_before_the_list_was_there_is_on_it(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    failed, again = await fail(store, 1), await fail(store, 2)
    await commit(store, replay_of(again))
    await connection.execute("DROP TABLE dead_letters, submit_counts")
    (migration,) = (each for each in shipped() if each.name == "letters_and_door")
    await connection.execute(migration.sql)
    assert list(await store.dead_letters.find(DeadLetterQuery())) == [letter_of(failed)]
