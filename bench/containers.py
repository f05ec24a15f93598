"""Real containers per second, over a bare loop of the Docker SDK in the same run.

Both do create, start, wait, remove of the same container, at most 8 at a time. A side's clock runs
from its first call (Podling: the submit) until the last container is removed. The pairs alternate
in their order, and the ratio is the median of the pairs' ratios.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import docker

from bench.cluster import POLL_SECONDS, Cluster, cluster
from bench.report import Result
from bench.steady import watched
from bench.trial import Trial

IMAGE = "podling-busybox:local"
COMMAND = ["true"]
PARALLEL = 8
CONTAINERS = 24
PAIRS = 10
SIDE_SECONDS = 300.0
SETTINGS = f"{PAIRS} interleaved pairs of {CONTAINERS} containers, {PARALLEL} at a time, image {IMAGE}"


async def run(trial: Trial) -> Result:
    """Return `ratio`, `rate` and `raw_rate` (containers per second)."""
    engine = docker.from_env(max_pool_size=PARALLEL + 2)
    async with cluster(trial.store, "--capacity", str(PARALLEL)) as started:
        await asyncio.to_thread(bare, engine, PARALLEL)
        await by_podling(started, engine, PARALLEL)
        async with watched(started) as used:
            numbers = range(trial.sized(PAIRS))
            pairs = [await _pair(started, engine, raw_first=bool(n % 2)) for n in numbers]
    engine.close()
    return {
        "ratio": median(rate / raw for raw, rate in pairs),
        "rate": median(rate for _, rate in pairs),
        "raw_rate": median(raw for raw, _ in pairs),
    } | used


async def _pair(started: Cluster, engine: docker.DockerClient, *, raw_first: bool) -> tuple[float, float]:
    if raw_first:
        raw = await asyncio.to_thread(bare, engine, CONTAINERS)
        return raw, await by_podling(started, engine, CONTAINERS)
    rate = await by_podling(started, engine, CONTAINERS)
    return await asyncio.to_thread(bare, engine, CONTAINERS), rate


def bare(engine: docker.DockerClient, count: int) -> float:
    """Return the rate of the bare loop."""

    def one(_: int) -> None:
        container = engine.containers.create(IMAGE, COMMAND)
        container.start()
        container.wait()
        container.remove()

    begin = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as threads:
        list(threads.map(one, range(count)))
    return count / (time.perf_counter() - begin)


async def by_podling(started: Cluster, engine: docker.DockerClient, count: int) -> float:
    spec = {"name": "bench", "image": IMAGE, "command": COMMAND}
    node_ids = [node["nodeId"] for node in await started.get("/nodes")]
    begin = time.perf_counter()
    await started.submit_all([spec] * count)
    await started.wait_until_ended(SIDE_SECONDS)
    async with asyncio.timeout(SIDE_SECONDS):
        while await asyncio.to_thread(_left, engine, node_ids):
            await asyncio.sleep(POLL_SECONDS)
    return count / (time.perf_counter() - begin)


def _left(engine: docker.DockerClient, node_ids: Sequence[str]) -> int:
    """Return how many containers the nodes still have; those of other clusters do not count."""
    filters = [{"label": f"podling.io/node={node_id}"} for node_id in node_ids]
    return sum(len(engine.api.containers(all=True, quiet=True, filters=one)) for one in filters)
