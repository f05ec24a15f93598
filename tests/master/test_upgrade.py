"""A cluster that is upgraded one program after the other: workers, masters and schema of two versions."""

from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest

from podling.core.errors import ConfigurationError
from podling.core.protocol import OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION
from podling.store.postgres.migrations import Migration, migrate, shipped
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.store import PostgresStore
from tests.conftest import ServerOf
from tests.master.fake_worker import Refused
from tests.master.masters import Masters, RunningMaster
from tests.postgres_servers import chosen_servers

# Workers


async def test_an_older_worker_is_served_from_hello_to_the_end(master: RunningMaster) -> None:
    worker = await master.worker(protocol_version=OLDEST_PROTOCOL_VERSION)
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    await worker.stopped(task["taskId"])
    assert await worker.end(work, 143) == "applied"
    await worker.acknowledged(await worker.beat_once())


async def test_a_worker_of_a_version_that_nobody_speaks_is_told_so_and_may_find_another_master(
    master: RunningMaster,
) -> None:
    for version in (OLDEST_PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1):
        worker = master.new_worker(protocol_version=version)
        with pytest.raises(Refused) as refused:
            await worker.connect()
        assert refused.value.goodbye.reconnect
        assert f"protocol {version}" in refused.value.goodbye.reason
        assert "upgrade the older" in refused.value.goodbye.reason


@pytest.mark.parametrize(
    "offered, taken",
    [
        ((f"podling.{PROTOCOL_VERSION}", f"podling.{OLDEST_PROTOCOL_VERSION}"), PROTOCOL_VERSION),
        ((f"podling.{PROTOCOL_VERSION + 1}", f"podling.{PROTOCOL_VERSION}"), PROTOCOL_VERSION),
        ((f"podling.{OLDEST_PROTOCOL_VERSION}",), OLDEST_PROTOCOL_VERSION),
        ((f"podling.{PROTOCOL_VERSION + 1}",), None),
        ((), None),
    ],
)
async def test_the_newest_protocol_that_both_speak_is_taken(
    master: RunningMaster, offered: tuple[str, ...], taken: int | None
) -> None:
    address = f"{master.url}/api/v1/nodes/node-1/session"
    async with aiohttp.ClientSession() as http, http.ws_connect(address, protocols=offered) as socket:
        assert socket.protocol == (taken and f"podling.{taken}")


async def test_what_only_a_newer_worker_says_is_left_aside(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    worker.fall_silent()
    await worker.send_text('fly\n{"where":"up"}')
    await worker.send_text('beat\n{"counter":900,"mood":"good"}')
    await worker.acknowledged(900)
    assert await worker.end(work) == "applied"
    assert worker.goodbye is None


# The schema


@pytest.fixture(params=chosen_servers()[:1])
async def dsn(request: pytest.FixtureRequest, server_of: ServerOf) -> AsyncIterator[str]:
    async with server_of(request.param).database() as address:
        yield address


NEWER = Migration(
    shipped()[-1].version + 1,
    "newer",
    """
    CREATE TABLE newer (n int);
    ALTER TABLE masters ADD COLUMN newer text NOT NULL DEFAULT '';
    ALTER TABLE live_tasks ADD COLUMN newer text;
    ALTER TABLE ended_tasks ADD COLUMN newer text;
    ALTER TABLE node_records ADD COLUMN newer text;
    ALTER TABLE attempts ADD COLUMN newer text;
    """,
)


async def test_a_running_master_goes_on_when_a_newer_one_changes_the_schema(dsn: str) -> None:
    masters = Masters("postgres", lambda: PostgresStore(dsn, pool_size=5))
    try:
        master = await masters.start("old")
        worker = await master.worker()
        before = await master.api.submit()
        work = await worker.assigned(before["taskId"])
        await worker.start(work)
        await _upgrade(dsn)
        assert await worker.end(work) == "applied"
        after = await master.api.submit()
        await worker.start(await worker.assigned(after["taskId"]))
        for path in ("/tasks", f"/tasks/{before['taskId']}/attempts", "/nodes", "/cluster"):
            assert (await master.api.get(path)).status == 200, path
        assert (await master.api.task(before["taskId"]))["status"] == "completed"
        with pytest.raises(ConfigurationError, match=r"start a newer Podling"):
            await masters.start("old, started again")
        await worker.acknowledged(await worker.beat_once())
    finally:
        await masters.stop()


async def test_rows_of_a_newer_master_can_be_read(dsn: str) -> None:
    masters = Masters("postgres", lambda: PostgresStore(dsn, pool_size=5))
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        first = await masters.start("new")
        task = await first.api.submit(labels={"a": "b"})
        await (await first.worker()).assigned(task["taskId"])
        await first.stop()
        for table in ("task_specs", "node_records", "attempts"):
            await connection.execute(f"UPDATE {table} SET body = (body::jsonb || '{{\"newer\": 1}}')::json")
        old = await masters.start("old")
        assert (await old.api.task(task["taskId"]))["labels"] == {"a": "b"}
        assert (await old.api.get("/nodes")).json[0]["nodeId"] == "node-1"
        assert (await old.api.get(f"/tasks/{task['taskId']}/attempts")).json[0]["attempt"] == 1
    finally:
        await connection.close()
        await masters.stop()


async def _upgrade(dsn: str) -> None:
    pool = Pool(Address(dsn, 10.0), 2)
    await pool.open()
    try:
        assert await migrate(pool, [*shipped(), NEWER]) == [NEWER]
    finally:
        await pool.close()
