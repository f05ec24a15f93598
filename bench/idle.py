"""How long a function waits to begin where nothing else is to be done.

Tasks are submitted one by one; the time is from before the request until the function, in its
process, says by a datagram that it runs.
"""

import asyncio
import socket
import time

from bench.cluster import Cluster, cluster
from bench.functions import WORKER
from bench.noop import JOB_TYPE
from bench.report import Result, percentile
from bench.steady import watched
from bench.trial import Trial

TASKS = 500
WARM_UP = 20
PAUSE_SECONDS = 0.05
TASK_SECONDS = 30.0
SETTINGS = f"{TASKS} functions one by one on an idle cluster after {WARM_UP} for warming up"


async def run(trial: Trial) -> Result:
    """Return `p50_ms` and `p95_ms` from submit to start."""
    async with cluster(trial.store, *WORKER) as started:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.bind(("127.0.0.1", 0))
            line.setblocking(False)
            for _ in range(WARM_UP):
                await _one(started, line)
            async with watched(started) as used:
                waits = [await _one(started, line) for _ in range(trial.sized(TASKS))]
    return {"p50_ms": percentile(waits, 50), "p95_ms": percentile(waits, 95)} | used


async def _one(started: Cluster, line: socket.socket) -> float:
    """Return the milliseconds of one start."""
    await asyncio.sleep(PAUSE_SECONDS)
    spec = {"name": "bench", "runtime": "python", "handler": JOB_TYPE, "payload": line.getsockname()[1]}
    told = asyncio.create_task(_told(line))
    begin = time.perf_counter()
    await started.post("/tasks", spec)
    return (await told - begin) * 1000


async def _told(line: socket.socket) -> float:
    """Return when the function has said that it runs."""
    async with asyncio.timeout(TASK_SECONDS):
        await asyncio.get_running_loop().sock_recv(line, 100)
    return time.perf_counter()
