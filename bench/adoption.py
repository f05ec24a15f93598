"""How fast a restarted worker has its running containers again.

The worker is killed with SIGKILL while all of them run. The clock runs from the start of the new
process until its own API says of every one that it is running.
"""

import asyncio
import time

import aiohttp

from bench.cluster import POLL_SECONDS, Cluster, cluster
from bench.containers import IMAGE
from bench.report import Result
from bench.steady import watched
from bench.trial import Trial

CONTAINERS = 50
START_SECONDS = 300.0
ADOPT_SECONDS = 60.0
SETTINGS = f"{CONTAINERS} containers without network, image {IMAGE}"


async def run(trial: Trial) -> Result:
    """Return `adopted` containers and `seconds` until the last of them."""
    count = trial.sized(CONTAINERS)
    async with cluster(trial.store, "--capacity", str(count)) as started, watched(started) as used:
        spec = {"name": "bench", "image": IMAGE, "command": ["sleep", "600"], "network": "none"}
        ids = await started.submit_all([spec | {"stopGraceSeconds": 0}] * count)
        await _until_running(started, ids, START_SECONDS)
        await started.worker.kill()
        begin = time.perf_counter()
        await started.worker.start()
        await _until_running(started, ids, ADOPT_SECONDS)
        seconds = time.perf_counter() - begin
        for task_id in ids:
            await started.post(f"/tasks/{task_id}/cancel", {})
        await started.wait_until_ended(START_SECONDS)
    return {"adopted": len(ids), "seconds": seconds} | used


async def _until_running(started: Cluster, ids: list[str], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        for task_id in ids:
            while not await _runs(started, task_id):
                await asyncio.sleep(POLL_SECONDS)


async def _runs(started: Cluster, task_id: str) -> bool:
    url = f"{started.worker_url}/api/v1/tasks/{task_id}/status"
    try:
        async with started.http.get(url) as response:
            return response.status == 200 and (await response.json())["status"] == "running"
    except aiohttp.ClientError:
        return False
