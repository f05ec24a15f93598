"""What Podling adds to the start of a container, from its own spans.

Tasks are submitted one by one to an idle cluster. Of the time from the submit (the task's
`createdAt`) until the engine's start call returned, the engine's own calls (create and start, as
the worker timed them) are taken off; the rest is Podling's: two commits, planning, delivery, the
worker's journal.
"""

import asyncio
from datetime import datetime
from typing import Any

from bench.cluster import Cluster, cluster
from bench.containers import IMAGE
from bench.report import Result, percentile
from bench.steady import watched
from bench.trial import Trial

TASKS = 60
WARM_UP = 5
PAUSE_SECONDS = 0.2
TASK_SECONDS = 60.0
SETTINGS = f"{TASKS} tasks one by one on an idle cluster after {WARM_UP} for warming up, image {IMAGE}"


async def run(trial: Trial) -> Result:
    """Return `start_over_raw_ms_p50`, `_p99` and the engine's own part, in milliseconds."""
    async with cluster(trial.store) as started:
        for _ in range(WARM_UP):
            await _one(started)
        async with watched(started) as used:
            spans = [await _one(started) for _ in range(trial.sized(TASKS))]
    over = [own for own, _ in spans]
    return {
        "start_over_raw_ms_p50": percentile(over, 50),
        "start_over_raw_ms_p99": percentile(over, 99),
        "engine_ms_p50": percentile([engine for _, engine in spans], 50),
    } | used


async def _one(started: Cluster) -> tuple[float, float]:
    """Return Podling's own milliseconds of one start, and the engine's."""
    await asyncio.sleep(PAUSE_SECONDS)
    spec = {"name": "bench", "image": IMAGE, "command": ["sleep", "1"]}
    task = await started.post("/tasks", spec)
    spans = await _spans(started, task["taskId"])
    begin, end = (datetime.fromisoformat(at) for at in (task["createdAt"], spans["startReturnedAt"]))
    engine = spans["prepareSeconds"] + spans["startSeconds"]
    await started.wait_until_ended(TASK_SECONDS)
    return ((end - begin).total_seconds() - engine) * 1000, engine * 1000


async def _spans(started: Cluster, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(TASK_SECONDS):
        while True:
            url = f"{started.worker_url}/api/v1/tasks/{task_id}/status"
            async with started.http.get(url) as response:
                spans = (await response.json()).get("spans") if response.status == 200 else None
            if spans and spans.get("startReturnedAt"):
                return dict(spans)
            await asyncio.sleep(0.05)
