"""How soon a plain task starts while 100,000 of higher priority wait for a GPU that nobody has.

Plain tasks are submitted one by one, first while the others are still coming in, then when all of
them are there. The clock runs from just before the request until the worker has started the task.
"""

import asyncio
import time
from datetime import datetime

from bench.cluster import POLL_SECONDS, Master, lone_master
from bench.load import SPEC
from bench.report import Result
from bench.steady import farm, fill, waits, watched
from bench.trial import Trial

WAITING = 100_000
PRIORITY = 10
GPU = f'{{"priority": {PRIORITY}, "resources": {{"requests": {{"gpu": 1}}}}}}'
WARM_UP = 20
PAUSE_SECONDS = 0.1
TASK_SECONDS = 60.0
SETTINGS = f"{WAITING} tasks of priority {PRIORITY} that ask for a GPU, 10 nodes, plain tasks one by one"


async def run(trial: Trial) -> Result:
    """Return `start_ms_p50`, `_p99` with all of them there, and the same of the time before (`flood_…`)."""
    async with lone_master(trial.store) as master, farm(master, 10, 100):
        for _ in range(WARM_UP):
            await _one(master)
        filling = asyncio.create_task(fill(master, trial.sized(WAITING), "--spec", GPU))
        try:
            flood = [await _one(master)]
            while not filling.done():
                flood.append(await _one(master))
            await filling
        finally:
            filling.cancel()
        async with watched(master) as used:
            begin, starts = time.monotonic(), [await _one(master)]
            while time.monotonic() - begin < trial.seconds:
                starts.append(await _one(master))
    return waits("start", starts) | waits("flood_start", flood) | used


async def _one(master: Master) -> float:
    """Return the milliseconds until one plain task started."""
    await asyncio.sleep(PAUSE_SECONDS)
    begin = time.time()
    task = await master.post("/tasks", SPEC)
    async with asyncio.timeout(TASK_SECONDS):
        while not task["startedAt"]:
            await asyncio.sleep(POLL_SECONDS)
            task = await master.get(f"/tasks/{task['taskId']}")
    return (datetime.fromisoformat(task["startedAt"]).timestamp() - begin) * 1000
