"""From SQL to a worker: real masters, a real database, and plain psql."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from podling.boot.psql import psql
from podling.store.postgres.store import PostgresStore
from tests.master.databases import Databases
from tests.master.masters import Masters, eventually
from tests.postgres_servers import chosen_servers

JOB = {"name": "job", "image": "busybox:local"}
SLOW_POLL_SECONDS = 30  # longer than any wait here: nothing happens by the poll


@pytest.fixture(params=chosen_servers()[:1])
async def dsn(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    async with databases.lend(request.param) as lent:
        yield lent


@pytest.fixture
async def masters(dsn: str) -> AsyncIterator[Masters]:
    found = Masters("postgres", lambda: PostgresStore(dsn, pool_size=5))
    try:
        yield found
    finally:
        await found.stop()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A program's own connection."""
    opened = await asyncpg.connect(dsn, timeout=10)
    try:
        yield opened
    finally:
        await opened.close(timeout=10)


async def submit(connection: asyncpg.Connection, **fields: Any) -> str:
    return str(await connection.fetchval("SELECT podling_submit($1)", json.dumps(JOB | fields)))


async def status(connection: asyncpg.Connection, task_id: str) -> Any:
    return json.loads(await connection.fetchval("SELECT podling_status($1)", task_id))


async def admitted(connection: asyncpg.Connection, *task_ids: str) -> None:
    """Wait until the leader has taken these in."""

    async def all_in() -> bool:
        waiting = "SELECT EXISTS (SELECT FROM inbox WHERE task_id = ANY ($1))"
        return not await connection.fetchval(waiting, list(task_ids))

    await eventually(all_in, "the tasks")


async def test_a_task_starts_at_once_after_its_callers_commit(
    masters: Masters, connection: asyncpg.Connection
) -> None:
    master = await masters.start(poll_seconds=SLOW_POLL_SECONDS)
    worker = await master.worker()
    async with connection.transaction():
        task_id = await submit(connection)
        assert not (await status(connection, task_id))["admitted"]
    work = await worker.assigned(task_id)
    await worker.start(work)
    assert (await status(connection, task_id))["status"] == "running"
    await worker.end(work)
    over = await status(connection, task_id)
    assert (over["status"], over["exitCode"], over["nodeId"]) == ("completed", 0, "node-1")


async def test_a_cancel_by_sql_stops_what_waits_and_what_runs(
    masters: Masters, connection: asyncpg.Connection
) -> None:
    master = await masters.start(poll_seconds=SLOW_POLL_SECONDS)
    worker = await master.worker()
    running = await submit(connection)
    work = await worker.assigned(running)
    await worker.start(work)
    waiting = await submit(connection, runAt="2031-01-01T00:00:00Z")
    for task_id in (running, waiting):
        await connection.execute("SELECT podling_cancel($1)", task_id)
    await worker.stopped(running)
    await worker.end(work, None, error_code="SIGNAL")
    for task_id in (running, waiting):
        await admitted(connection, task_id)
        await master.until_status(task_id, "cancelled")
    assert (await status(connection, waiting))["errorCode"] == "CANCELLED"


async def test_what_the_door_refuses_is_explained_and_listed_with_the_dead_letters(
    masters: Masters, connection: asyncpg.Connection
) -> None:
    master = await masters.start(poll_seconds=SLOW_POLL_SECONDS)
    task_id = await submit(connection, nmae="x")
    await admitted(connection, task_id)
    task = await master.until_status(task_id, "failed")
    assert (task["error"], task["errorCode"]) == ("nmae: no such field", "NOT_ADMITTED")
    told = (await master.api.get(f"/tasks/{task_id}/explain")).json
    assert "nmae: no such field" in told["summary"] and "by SQL" in told["advice"]
    (letter,) = (await master.api.get("/dlq", reason="NOT_ADMITTED")).json
    assert letter["taskId"] == task_id
    timeline = (await master.api.get(f"/tasks/{task_id}/timeline")).json
    assert [line["type"] for line in timeline] == ["submitted", "failed"]


async def test_a_key_that_was_used_by_http_leads_to_that_task_from_then_on(
    masters: Masters, connection: asyncpg.Connection
) -> None:
    master = await masters.start(poll_seconds=SLOW_POLL_SECONDS)
    first = (await master.api.submit(idempotencyKey="key"))["taskId"]
    second = await submit(connection, idempotencyKey="key")
    await admitted(connection, second)
    assert (await status(connection, second))["error"].startswith(f"the same as task {first}")
    assert await submit(connection, idempotencyKey="key") == first


async def test_plain_psql_submits_in_a_transaction_of_its_own(
    masters: Masters, connection: asyncpg.Connection, dsn: str, tmp_path: Path
) -> None:
    master = await masters.start(poll_seconds=SLOW_POLL_SECONDS)
    script = tmp_path / "script.sql"
    script.write_text(
        f"""
        \\set ON_ERROR_STOP on
        CREATE TEMPORARY TABLE orders (task_id text);
        BEGIN;
        INSERT INTO orders SELECT podling_submit('{json.dumps(JOB | {"name": "rolled-back"})}');
        ROLLBACK;
        BEGIN;
        INSERT INTO orders SELECT podling_submit('{json.dumps(JOB | {"name": "kept"})}');
        COMMIT;
        \\copy orders to '{tmp_path / "id"}'
        """
    )
    assert await psql(dsn, ["-X", "-q", "-f", str(script)]) == 0
    await admitted(connection, (tmp_path / "id").read_text().strip())
    assert [task["name"] for task in (await master.api.get("/tasks")).json] == ["kept"]


async def test_a_takeover_in_the_middle_makes_every_task_once(
    masters: Masters, connection: asyncpg.Connection
) -> None:
    """Masters lead in turn while programs submit; `tests/e2e/test_sql_submits.py` kills one for it."""
    first, _ = await masters.start("one"), await masters.start("two")
    ids: list[str] = []
    stopping: asyncio.Task[None] | None = None
    for number in range(300):
        ids.append(await submit(connection, idempotencyKey=str(number)))
        if number == 100:
            stopping = asyncio.create_task(first.stop_server())
    assert stopping is not None
    await stopping
    await admitted(connection, *ids)
    assert await connection.fetchval("SELECT count(*) FROM live_tasks") == len(set(ids)) == 300
