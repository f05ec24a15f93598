"""`podling_end`: the end of a statement in the transaction of what it did."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from podling.core.lifecycle import Lose
from podling.core.protocol import ReportKind
from podling.core.spec import ContainerSpec, Runtime
from podling.core.statement_end import settled
from podling.core.task import Task, TaskStatus
from podling.store.base import WriteStatus
from podling.store.ports.inbox import InboxKind
from podling.store.postgres.store import PostgresStore
from tests.builders import (
    assignment,
    build_batch,
    build_spec,
    build_task,
    happening,
    insertion,
    reported,
)
from tests.postgres_servers import PostgresServer

Connection = asyncpg.Connection
LOGIN = "podling_test_statements"
SQL = build_spec(runtime=Runtime.SQL, containers=(ContainerSpec(),), statement="SELECT 1")


async def running(store: PostgresStore, **fields: Any) -> Task:
    """Return a task that runs on node-1."""
    task = build_task(**({"spec": SQL} | fields))
    for write in (insertion(task), assignment(task)):
        await store.commit(build_batch([write]))
    assigned = (await store.load_tasks([task.task_id]))[task.task_id]
    await store.commit(build_batch([happening(assigned, reported(assigned, ReportKind.RUNNING))]))
    return (await store.load_tasks([task.task_id]))[task.task_id]


async def end(connection: Connection, task: Task, attempt: int = 1, cluster: str | None = None) -> bool:
    cluster = cluster or await connection.fetchval("SELECT cluster_id FROM cluster")
    return bool(await connection.fetchval("SELECT podling_end($1, $2, $3)", cluster, task.task_id, attempt))


async def test_the_end_and_the_work_are_one(store: PostgresStore, connection: Connection) -> None:
    task = await running(store)
    await connection.execute("CREATE TABLE work (id int)")
    for is_kept in (False, True):
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO work VALUES (1)")
        assert await end(connection, task)
        await (transaction.commit() if is_kept else transaction.rollback())
        known = (await store.load_tasks([task.task_id]))[task.task_id]
        assert (known.version, known.done_at is not None) == (task.version + is_kept, is_kept)
        assert await connection.fetchval("SELECT count(*) FROM work") == is_kept
        items = await store.inbox.page(0, 10, 10**6)
        assert [(item.kind, item.task_id) for item in items] == [(InboxKind.END, task.task_id)] * is_kept
    body = json.loads((await store.inbox.page(0, 10, 10**6))[0].body)
    assert (body["attempt"], body["nodeId"]) == (1, "node-1")


async def test_the_result_is_the_tasks_from_the_end_on(store: PostgresStore, connection: Connection) -> None:
    task = await running(store)
    cluster = await connection.fetchval("SELECT cluster_id FROM cluster")
    result = '{"rowCount":1,"rows":[{"a":"\\u0000"}]}'
    ending = "SELECT podling_end($1, $2, $3, $4)"
    assert await connection.fetchval(ending, cluster, task.task_id, 1, result)
    known = (await store.load_tasks([task.task_id]))[task.task_id]
    assert (known.result, known.done_at is not None) == (result, True)
    assert await connection.fetchval(ending, cluster, None, None, None) is True
    assert await connection.fetchval(ending, "another", None, None, None) is False


async def test_who_has_not_read_of_it_changes_nothing(store: PostgresStore, connection: Connection) -> None:
    task = await running(store)
    await end(connection, task)
    lost = Lose(attempt=1, reason="gone")
    (result,) = await store.commit(build_batch([happening(task, lost)]))
    assert result.status is WriteStatus.CONFLICT
    known = (await store.load_tasks([task.task_id]))[task.task_id]
    (result,) = await store.commit(build_batch([happening(known, settled(known, lost))]))
    assert result.status is WriteStatus.APPLIED
    over = (await store.load_tasks([task.task_id]))[task.task_id]
    assert (over.status, over.finished_at) == (TaskStatus.COMPLETED, known.done_at)


async def test_only_the_live_attempt_of_an_sql_task_can_end(
    store: PostgresStore, connection: Connection
) -> None:
    task = await running(store)
    other = await running(store, task_id="other", spec=build_spec())
    for wrong, attempt in ((task, 2), (task, 0), (other, 1), (build_task(task_id="nobody"), 1)):
        with pytest.raises(asyncpg.PostgresError, match="is not its live one") as caught:
            await end(connection, wrong, attempt)
        assert caught.value.sqlstate == "PDL01"
    assert await end(connection, task, cluster="another") is False
    assert await store.inbox.page(0, 10, 10**6) == []
    await end(connection, task)
    known = (await store.load_tasks([task.task_id]))[task.task_id]
    await store.commit(build_batch([happening(known, settled(known, Lose(attempt=1, reason="gone")))]))
    with pytest.raises(asyncpg.PostgresError, match="is not its live one"):
        await end(connection, task)


async def test_a_master_waits_for_the_transaction_and_then_hears_of_it(
    store: PostgresStore, connection: Connection
) -> None:
    task = await running(store)
    transaction = connection.transaction()
    await transaction.start()
    await end(connection, task)
    lost = build_batch([happening(task, Lose(attempt=1, reason="gone"))])
    writing = asyncio.create_task(store.commit(lost))
    done, _ = await asyncio.wait([writing], timeout=0.2)
    assert not done
    await transaction.commit()
    (result,) = await asyncio.wait_for(writing, 10)
    assert result.status is WriteStatus.CONFLICT


@pytest.fixture
async def stranger(postgres_server: PostgresServer, dsn: str) -> AsyncIterator[Connection]:
    """A connection as a login that has been granted nothing."""
    owner = await asyncpg.connect(dsn, timeout=10)
    await owner.execute(f"CREATE ROLE {LOGIN}")
    opened = await asyncpg.connect(dsn, timeout=10)
    await opened.execute(f"SET SESSION AUTHORIZATION {LOGIN}")
    try:
        yield opened
    finally:
        await opened.close(timeout=10)
        await owner.execute(f"DROP OWNED BY {LOGIN}")
        await owner.execute(f"DROP ROLE {LOGIN}")
        await owner.close(timeout=10)


async def test_nobody_may_call_it_until_told_so(
    store: PostgresStore, connection: Connection, stranger: Connection
) -> None:
    task = await running(store)
    cluster = await connection.fetchval("SELECT cluster_id FROM cluster")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await end(stranger, task, cluster=cluster)
    await connection.execute(f"GRANT EXECUTE ON FUNCTION podling_end(text, text, bigint) TO {LOGIN}")
    assert await end(stranger, task, cluster=cluster)
    (item,) = await store.inbox.page(0, 10, 10**6)
    assert item.sender == LOGIN
    assert (await store.load_tasks([task.task_id]))[task.task_id].done_at is not None
