"""A backup restored under running masters and workers: both find their way back by themselves."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from podling.core.task import StopReason
from podling.store.postgres.backup import backup
from podling.store.postgres.restore import LEAP, restore
from podling.store.postgres.store import PostgresStore
from tests.conftest import ServerOf
from tests.master.databases import Databases
from tests.master.fake_worker import held
from tests.master.inside import inside
from tests.master.masters import Api, Masters, eventually
from tests.postgres_servers import chosen_servers


@pytest.fixture
async def dsn(databases: Databases, server_of: ServerOf) -> AsyncIterator[str]:
    async with databases.lend(chosen_servers()[0]) as address:
        yield address


@pytest.fixture
async def masters(dsn: str) -> AsyncIterator[Masters]:
    found = Masters("postgres", lambda: PostgresStore(dsn, pool_size=5))
    try:
        yield found
    finally:
        await found.stop()


async def test_masters_and_workers_go_on_from_the_backup(masters: Masters, dsn: str, tmp_path: Path) -> None:
    leader, other = await masters.start(), await masters.start("machine-2")
    worker = await other.worker("one")
    runs_on = await worker.assigned((await leader.api.submit(name="runs-on"))["taskId"])
    once = await worker.assigned((await leader.api.submit(name="once", delivery="at_most_once"))["taskId"])
    await worker.start(runs_on)
    key_before = worker.welcome and worker.welcome.task_key
    await backup(dsn, tmp_path / "file")

    await worker.end(once)
    unknown = await worker.assigned((await leader.api.submit(name="unknown"))["taskId"])
    await worker.start(unknown)
    assert (await restore(dsn, tmp_path / "file", replace=True)).live_attempts == 2

    # As a worker does: connect again as often as it is told to, until both sides know the same.
    while (await leader.api.task(once.task_id))["errorCode"] is None:
        goodbye = await worker.ended()
        assert goodbye is None or goodbye.reconnect
        welcome = await worker.connect([held(runs_on), held(unknown)])
        assert welcome.session_no > LEAP
        stops = [(order.task_id, order.reason) for order in welcome.desired.stop]
        assert stops == [(unknown.task_id, StopReason.STALE)]
        assert welcome.desired.assign == ()
    assert (await leader.api.task(once.task_id))["errorCode"] == "UNKNOWN_EXIT"
    assert (await leader.api.get(f"/tasks/{unknown.task_id}")).status == 404
    await worker.end(runs_on)
    await leader.until_status(runs_on.task_id, "completed")

    async def leads() -> bool:
        return bool((await leader.api.get("/cluster")).json["epoch"] > LEAP)

    await eventually(leads, "a new epoch beyond all that were given")
    new = await worker.assigned((await leader.api.submit(name="new"))["taskId"])
    assert worker.welcome is not None and worker.welcome.task_key not in (None, key_before)
    for master in (leader, other):  # the new key is one that both know
        async with inside(master, worker, new, "one") as api:
            saved = partial(_saves, api, new.task_id)
            await eventually(saved, "the master to know the new key")

    async def counted() -> bool:
        [node] = (await leader.api.get("/nodes")).json
        return (node["nodeId"], node["runningTasks"]) == ("one", 1)

    await eventually(counted, "both masters know what runs on the node, and nothing else")


async def _saves(api: Api, task_id: str) -> bool:
    return (await api.post(f"/tasks/{task_id}/checkpoints")).status == 201


async def test_masters_that_run_on_take_the_id_of_the_cluster_that_was_restored(
    masters: Masters, dsn: str, databases: Databases, tmp_path: Path
) -> None:
    running = [await masters.start(), await masters.start("machine-2")]
    async with databases.lend(chosen_servers()[0]) as another:
        connection = await asyncpg.connect(another)
        await connection.execute("UPDATE cluster SET cluster_id = '00c0ffee'")
        await connection.close()
        await backup(another, tmp_path / "file")
    await restore(dsn, tmp_path / "file", replace=True)

    async def taken() -> bool:
        told = [(await master.api.get("/cluster")).json["clusterId"] for master in running]
        return told == ["00c0ffee"] * 2

    await eventually(taken, "both masters are of the cluster that was restored")
