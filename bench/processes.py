"""`/bin/true` by the runtime `process`, over a bare loop of posix_spawn in the same run.

The load submits in batches by HTTP and stays a bounded number of tasks ahead of the ends. The bare
loop spawns and waits for one process after the other while the cluster has nothing to do.
"""

import asyncio
import os
import time

from bench.children import Child
from bench.cluster import cluster
from bench.report import Result
from bench.steady import READING_SECONDS, steady
from bench.trial import Trial

COMMAND = "/bin/true"
SPEC = f'{{"runtime": "process", "image": null, "command": ["{COMMAND}"]}}'
BATCH = 100
CONNECTIONS = 2
BACKLOG = 2_000
CAPACITY = 64
RAW_SHARE = 1 / 6
ENDED = "podling_task_transitions_total"
SETTINGS = (
    f"{COMMAND}, a worker of {CAPACITY} slots, batches of {BATCH} over {CONNECTIONS} connections, "
    f"backlog up to {BACKLOG}"
)


async def run(trial: Trial) -> Result:
    """Return `rate`, `raw_rate` (processes a second) and what the master used."""
    runtime = ("--runtime", "process", "--allow-root-processes", "--capacity", str(CAPACITY))
    async with cluster(trial.store, *runtime) as started:
        raw_rate = await asyncio.to_thread(_raw, trial.seconds * RAW_SHARE)
        flags = ["--connections", str(CONNECTIONS), "--batch", str(BATCH), "--spec", SPEC]
        async with Child("load", "--port", str(started.port), "--limit", str(BACKLOG), *flags) as load:
            ended = failed = 0.0

            async def go_on() -> None:
                nonlocal ended, failed
                reading = await started.reading()
                ended = reading.total(ENDED, after="completed")
                failed = reading.total(ENDED, after="failed")
                load.send(f"limit {int(ended + failed) + BACKLOG}")

            result = await steady(trial, started, [load], lambda: ended, go_on, every=READING_SECONDS)
            rest = {"raw_rate": raw_rate, "failed": failed, "refused": load.told("refused")}
            return result | rest


def _raw(seconds: float) -> float:
    """Return the rate of the bare loop."""
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        os.waitpid(os.posix_spawn(COMMAND, [COMMAND], {}), 0)
        count += 1
    return count / (time.perf_counter() - begin)
