"""Real containers per second, over a bare loop of the Docker SDK in the same run.

Both do create, start, wait, remove of the same container, at most 8 at a time. A side's rate is that
of its removals, by the engine's events, without those of the first and of the last 8 containers. The
pairs alternate in their order, and the ratio is the median of the pairs' ratios.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import docker

from bench.cluster import Cluster, cluster
from bench.removals import Removals, first, watching
from bench.report import Result
from bench.steady import watched
from bench.trial import Trial

IMAGE = "podling-busybox:local"
COMMAND = ["true"]
PARALLEL = 8
CONTAINERS = 96
PAIRS = 5
SIDE_SECONDS = 300.0
RAW_LABEL = "podling.io/bench=raw"
SETTINGS = (
    f"{PAIRS} interleaved pairs of {CONTAINERS} containers, {PARALLEL} at a time, without the first and "
    f"the last {PARALLEL}, image {IMAGE}"
)


async def run(trial: Trial) -> Result:
    """Return `ratio`, `rate` and `raw_rate` (containers per second)."""
    engine = docker.from_env(max_pool_size=PARALLEL + 2)
    async with cluster(trial.store, "--capacity", str(PARALLEL)) as started:
        await asyncio.to_thread(bare, engine, PARALLEL)
        await by_podling(started, engine, PARALLEL)
        async with watched(started) as used:
            numbers = range(trial.sized(PAIRS))
            count = trial.sized(CONTAINERS, least=3 * PARALLEL)
            pairs = [await _pair(started, engine, count, raw_first=bool(n % 2)) for n in numbers]
    engine.close()
    return {
        "ratio": median(rate / raw for raw, rate in pairs),
        "rate": median(rate for _, rate in pairs),
        "raw_rate": median(raw for raw, _ in pairs),
    } | used


async def _pair(
    started: Cluster, engine: docker.DockerClient, count: int, *, raw_first: bool
) -> tuple[float, float]:
    rates: dict[bool, float] = {}
    for is_raw in (raw_first, not raw_first):
        if is_raw:
            removals = await asyncio.to_thread(bare, engine, count)
        else:
            removals = await by_podling(started, engine, count)
        rates[is_raw] = removals.steady_rate(PARALLEL)
    return rates[True], rates[False]


def bare(engine: docker.DockerClient, count: int) -> Removals:
    """Have the bare loop make as many."""
    name, _, value = RAW_LABEL.partition("=")

    def one(_: int) -> None:
        container = engine.containers.create(IMAGE, COMMAND, labels={name: value})
        container.start()
        container.wait()
        container.remove()

    with watching(engine, RAW_LABEL) as times:
        begin = time.time()
        with ThreadPoolExecutor(PARALLEL) as threads:
            list(threads.map(one, range(count)))
        return Removals(begin, first(times, count))


async def by_podling(started: Cluster, engine: docker.DockerClient, count: int) -> Removals:
    """Have the cluster's worker make as many. Nobody asks for anything meanwhile."""
    spec = {"name": "bench", "image": IMAGE, "command": COMMAND}
    (node,) = await started.get("/nodes")
    with watching(engine, f"podling.io/node={node['nodeId']}") as times:
        begin = time.time()
        await started.submit_all([spec] * count)
        async with asyncio.timeout(SIDE_SECONDS):
            removed = Removals(begin, await asyncio.to_thread(first, times, count))
            await started.wait_until_ended(SIDE_SECONDS)
    return removed
