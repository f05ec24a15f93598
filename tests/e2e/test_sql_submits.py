"""A thousand tasks by SQL while the leader is killed: each is there once, and none is lost."""

import asyncio
import json

import asyncpg
import pytest

from podling.boot.database import running_database
from tests.e2e.cluster import Cluster, several_masters
from tests.e2e.programs import until

COUNT = 1000
PATIENCE_SECONDS = 60

pytestmark = [pytest.mark.xdist_group("several-masters"), pytest.mark.timeout(180)]


def test_a_thousand_submits_with_the_leader_killed_in_the_middle_are_a_thousand_tasks() -> None:
    with several_masters() as cluster:
        for name in ("master-1", "master-2"):
            cluster.start_master(name)
        until("the first master leads", lambda: cluster.leads("master-1") or None)
        submitted, stored = asyncio.run(_submit_and_kill(cluster, "master-1"))
    assert len(set(submitted)) == COUNT
    assert sorted(stored) == sorted(submitted)


async def _submit_and_kill(cluster: Cluster, leader: str) -> tuple[list[str], list[str]]:
    async with running_database(f"embedded:{cluster.directory / 'postgres'}") as dsn:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            submitted = []
            for number in range(COUNT):
                if number == COUNT // 2:
                    await _until(connection, "SELECT count(*) FROM live_tasks")
                    cluster.kill(leader)
                task = json.dumps({"name": f"job-{number}", "image": "busybox:local"})
                submitted.append(str(await connection.fetchval("SELECT podling_submit($1)", task)))
            await _until(connection, "SELECT NOT EXISTS (SELECT FROM inbox)")
            rows = await connection.fetch("SELECT task_id FROM live_tasks")
            return submitted, [row["task_id"] for row in rows]
        finally:
            await connection.close(timeout=10)


async def _until(connection: asyncpg.Connection, condition: str) -> None:
    """Look again and again: nothing tells a program's own connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await connection.fetchval(condition):
            await asyncio.sleep(0.05)
