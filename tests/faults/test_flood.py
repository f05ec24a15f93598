"""A master that is flooded by slow clients and by submits: workers notice nothing of it."""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.faults.figures import tell
from tests.faults.programs import Cluster, a_cluster
from tests.master.fake_worker import FakeWorker

ROOT = Path(__file__).parents[2]
WORKERS = 5
LEASE_SECONDS = 12.0  # the default
ANSWERED_SECONDS = 1.0

pytestmark = pytest.mark.xdist_group("faults-flood")


def _environment(store: str, cluster: Cluster) -> Mapping[str, str]:
    if store == "memory":
        return {"STORE_TYPE": "memory"}
    return {"DATABASE_URL": f"embedded:{cluster.directory / 'postgres'}"}


@pytest.fixture(params=["memory", "postgres"])
def flooded(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with a_cluster(LEASE_SECONDS) as started:
        started.start_master("master-1", environment=_environment(request.param, started))
        yield started


async def _flood(port: str, slow: int, submitters: int, seconds: float) -> asyncio.subprocess.Process:
    """Start it, and return when all its slow clients are there."""
    flooding = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.flood", port, str(slow), str(submitters), str(seconds)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert flooding.stdout is not None
    async with asyncio.timeout(90):
        assert await flooding.stdout.readline() == b"ready\n"
    return flooding


async def _beat(worker: FakeWorker, until_done: asyncio.Event) -> list[float]:
    """Beat again and again; return how long each answer took."""
    took, now = [], asyncio.get_running_loop().time
    while not until_done.is_set():
        sent = now()
        await worker.acknowledged(await worker.beat_once())
        took.append(now() - sent)
    return took


async def _measured(cluster: Cluster, slow: int, submitters: int, seconds: float) -> tuple[list[float], Any]:
    """Return how long the answers to beats took meanwhile, and what the flood has to tell."""
    url, done = cluster.url("master-1"), asyncio.Event()
    workers = [FakeWorker(url, f"node-{number}") for number in range(WORKERS)]
    flooding = await _flood(url.rpartition(":")[2], slow, submitters, seconds)
    try:
        for worker in workers:  # who comes in the middle of it gets in
            worker.beating = False
            await worker.connect()
        beating = [asyncio.create_task(_beat(worker, done)) for worker in workers]
        told, _ = await asyncio.wait_for(flooding.communicate(), seconds + 60)
        done.set()
        took = [one for each in await asyncio.gather(*beating) for one in each]
        assert not any(worker.closed for worker in workers)
        return took, json.loads(told)
    finally:
        if flooding.returncode is None:
            flooding.kill()
            await flooding.wait()
        for worker in workers:
            await worker.close()


def _check(cluster: Cluster, told: Any) -> None:
    assert set(told["statuses"]) <= {"201", "429", "503"}, told
    assert told["statuses"]["201"] > 0 and told["without_retry_after"] == 0, told
    assert "is lost" not in cluster.whole_log("master-1")
    assert "Traceback" not in cluster.whole_log("master-1")


async def test_no_node_is_lost_and_every_submit_is_answered(flooded: Cluster) -> None:
    took, told = await _measured(flooded, slow=300, submitters=60, seconds=4.0)
    assert took
    _check(flooded, told)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_beats_are_answered_within_a_second_under_2000_slow_clients(flooded: Cluster) -> None:
    took, told = await _measured(flooded, slow=2000, submitters=200, seconds=60.0)
    took.sort()
    figures = {
        "beats": len(took),
        "p50": took[len(took) // 2],
        "p99": took[int(len(took) * 0.99)],
        "max": took[-1],
    }
    tell(f"{figures} {told}")
    _check(flooded, told)
    assert took[-1] < ANSWERED_SECONDS, figures
    assert told["cut"] >= 2000, "slow clients are cut off after half a minute"


async def test_what_was_accepted_while_a_master_stops_is_in_the_store() -> None:
    with a_cluster(LEASE_SECONDS) as cluster:
        environment = _environment("postgres", cluster)
        cluster.start_master("master-1", environment=environment)
        accepted: list[str] = []
        enough = asyncio.Event()
        async with aiohttp.ClientSession(base_url=cluster.url("master-1")) as http:
            submitting = [
                asyncio.create_task(_submit_until_it_is_gone(http, accepted, enough)) for _ in range(50)
            ]
            async with asyncio.timeout(30):
                await enough.wait()
            cluster.signal("master-1", signal.SIGTERM)
            async with asyncio.timeout(60):
                refused = {status for each in await asyncio.gather(*submitting) for status in each}
        assert refused <= {503}
        assert await asyncio.to_thread(cluster.ended, "master-1") == 0
        cluster.start_master("master-1", environment=environment)
        async with aiohttp.ClientSession(base_url=cluster.url("master-1")) as http:
            for task_id in accepted:
                async with http.get(f"/api/v1/tasks/{task_id}") as answer:
                    assert answer.status == 200, task_id


async def _submit_until_it_is_gone(
    http: aiohttp.ClientSession, accepted: list[str], enough: asyncio.Event
) -> list[int]:
    """Note every task that was accepted; return the other statuses once no master answers."""
    others = []
    while True:
        body = {"name": "last", "image": "none", "idempotencyKey": str(uuid4())}
        try:
            async with http.post("/api/v1/tasks", json=body) as answer:
                told = await answer.json()
        except aiohttp.ClientError:
            return others
        if answer.status == 201:
            accepted.append(told["taskId"])
        else:
            others.append(answer.status)
        if len(accepted) > 300:
            enough.set()
