"""What the path of every task costs the server, in counts: statements, rows written, rewrites in place."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import asyncpg
import pytest

from podling.core.protocol import ReportKind
from podling.core.task import Task
from podling.store.base import TaskWrite, WriteStatus
from podling.store.postgres.store import PostgresStore
from tests.builders import (
    assignment,
    at,
    build_batch,
    build_node,
    build_task,
    ended,
    happening,
    insertion,
    reported,
)

BATCH = 100
BACKLOG = 1000
IN_FLIGHT = 300
MANY = 3000

_WRITTEN = """
SELECT relname, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_hot_upd AS in_place, n_tup_del AS deleted
FROM pg_stat_user_tables
"""


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    """A store whose every statement takes the one connection, so that all of them can be counted."""
    opened = PostgresStore(dsn, pool_size=1)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def statements(store: PostgresStore) -> list[str]:
    """What the store has told its server so far; it grows with every statement."""
    told: list[str] = []
    async with store._pool.connection() as connection:
        connection.add_query_logger(lambda record: told.append(record.query))
    return told


async def written(store: PostgresStore, table: str) -> asyncpg.Record:
    """Return what has been written to the table, told by the server."""
    async with store._pool.connection() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        row = await connection.fetchrow(f"{_WRITTEN} WHERE relname = $1", table)
    assert row is not None
    return row


async def commit(store: PostgresStore, writes: Sequence[TaskWrite]) -> list[Task]:
    await store.commit(build_batch(writes))
    return [write.task for write in writes]


async def test_a_session_begins_in_one_statement_also_where_the_node_is_known(
    store: PostgresStore, statements: list[str]
) -> None:
    for number in (1, 2):
        before = len(statements)
        assert await store.open_session(build_node("a")) == number
        assert len(statements) - before == 1


@pytest.mark.parametrize("size", [1, BATCH, 5 * BATCH])
async def test_a_batch_takes_as_many_statements_whatever_its_size(
    store: PostgresStore, statements: list[str], size: int
) -> None:
    async def count(writes: Sequence[TaskWrite], epoch: int | None = None) -> int:
        before = len(statements)
        results = await store.commit(build_batch(writes, epoch=epoch))
        assert {result.status for result in results} == {WriteStatus.APPLIED}
        return len(statements) - before

    epoch = await store.take_leadership("one", await store.leadership())
    # With what the driver asks once on each connection.
    await count([insertion(first := build_task())])
    await count([assignment(first)], epoch)
    plain = [build_task() for _ in range(size)]
    keyed = [build_task(idempotency_key=f"key-{number}") for number in range(size)]
    assert await count([insertion(task) for task in plain]) == 1
    assert await count([insertion(task, "hash") for task in keyed]) == 1
    # BEGIN, the epoch, states, attempts and events with the batch's number, COMMIT.
    assigned = [assignment(task) for task in plain]
    assert await count(assigned, epoch) == 5
    given = [replace(assignment(build_task()), expected_version=None) for _ in range(size)]
    assert await count(given, epoch) == 1
    running = [happening(write.task, reported(write.task, ReportKind.RUNNING)) for write in assigned]
    assert await count(running) == 1
    assert await count([happening(write.task, ended(write.task)) for write in running]) == 1


async def test_a_used_key_costs_a_batch_a_few_statements_more(
    store: PostgresStore, statements: list[str]
) -> None:
    def keyed() -> list[TaskWrite]:
        return [insertion(build_task(idempotency_key=f"key-{number}"), "hash") for number in range(BATCH)]

    await commit(store, keyed())
    await commit(store, keyed())  # with what the driver asks once on each connection
    before = len(statements)
    results = await store.commit(build_batch([insertion(build_task()), *keyed()]))
    assert [result.status for result in results] == [WriteStatus.APPLIED] + [WriteStatus.DUPLICATE] * BATCH
    # All at once in vain, BEGIN, keys, their owners, specs and states, the batch's number, COMMIT.
    assert len(statements) - before == 7


async def drive(store: PostgresStore) -> None:
    """Take tasks from submit to end in batches, with some waiting and some running all the time."""
    pending: list[Task] = []
    scheduled: list[Task] = []
    running: list[Task] = []
    made = 0
    while made < MANY or pending or running:
        if made < MANY and len(pending) < BACKLOG:
            pending += await commit(store, [insertion(build_task()) for _ in range(BATCH)])
            made += BATCH
            continue
        scheduled = await commit(store, [assignment(task) for task in pending[:BATCH]])
        del pending[:BATCH]
        running += await commit(
            store, [happening(task, reported(task, ReportKind.RUNNING)) for task in scheduled]
        )
        if len(running) >= IN_FLIGHT or not pending:
            await commit(store, [happening(task, ended(task)) for task in running[:BATCH]])
            del running[:BATCH]


async def test_what_leaves_no_index_is_rewritten_in_its_page(store: PostgresStore) -> None:
    await drive(store)
    live, attempts = await written(store, "live_tasks"), await written(store, "attempts")
    # Of a task's two updates the first takes it out of the ready order, so that one is in no case in place.
    assert live["updated"] == 2 * MANY
    assert live["in_place"] > 0.9 * MANY
    assert attempts["updated"] == 2 * MANY
    assert attempts["in_place"] > 0.9 * attempts["updated"]


async def test_renewals_are_rewritten_in_their_page(store: PostgresStore) -> None:
    epoch = await store.take_leadership("one", await store.leadership())
    assert epoch is not None
    before = await written(store, "leadership")
    for _ in range(50):
        assert await store.renew_leadership("one", epoch)
    now = await written(store, "leadership")
    assert now["updated"] - before["updated"] == 50
    assert now["in_place"] - before["in_place"] > 45


async def test_beats_are_written_once_for_each_node(store: PostgresStore) -> None:
    sessions = {f"node-{number}": 0 for number in range(50)}
    for node_id in sessions:
        sessions[node_id] = await store.open_session(build_node(node_id))
    before = await written(store, "node_beats")
    for number in range(10):
        assert len(await store.beat(sessions, at(number))) == len(sessions)
    now = await written(store, "node_beats")
    assert now["updated"] - before["updated"] == 10 * len(sessions)


async def test_a_start_and_an_end_in_one_batch_are_one_write_of_the_row(store: PostgresStore) -> None:
    (task,) = await commit(store, [insertion(build_task())])
    (task,) = await commit(store, [assignment(task)])
    before = await written(store, "live_tasks"), await written(store, "attempts")
    started = happening(task, reported(task, ReportKind.RUNNING))
    over = happening(started.task, ended(started.task))
    both = TaskWrite(task=over.task, expected_version=task.version, attempts=over.attempts)
    await store.commit(build_batch([both]))
    live, attempts = await written(store, "live_tasks"), await written(store, "attempts")
    assert live["updated"] == before[0]["updated"]
    assert live["deleted"] == before[0]["deleted"] + 1
    assert attempts["updated"] == before[1]["updated"] + 1
