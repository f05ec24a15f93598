"""Real containers per second by Podling and by Docker Swarm, each over the bare loop of the same run.

As in `containers`, but on an engine of the bench's own, which is a swarm of one. Swarm's side is a
replicated job. It leaves the containers of a job that is over, so its clock stops already when the
last task is complete and the job is removed; the others' runs until the last container is removed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

import docker
from docker.types import RestartPolicy, ServiceMode

from bench.cluster import POLL_SECONDS, Cluster, cluster
from bench.containers import COMMAND, IMAGE, PARALLEL, SIDE_SECONDS, bare, by_podling
from bench.engine import private_engine
from bench.report import Result
from bench.trial import Trial

ROUNDS = 5
CONTAINERS = 24
LOOPBACK = "127.0.0.1"
SETTINGS = f"{ROUNDS} rounds of {CONTAINERS} containers on each side, {PARALLEL} at a time, image {IMAGE}"

Sides = dict[str, Callable[[], Awaitable[float]]]


async def run(trial: Trial) -> Result:
    """Return the rates of the three sides, and the ratios of two of them to the bare loop."""
    async with private_engine() as host:
        engine = docker.DockerClient(base_url=host, max_pool_size=PARALLEL + 2)
        engine.swarm.init(advertise_addr=LOOPBACK, listen_addr=f"{LOOPBACK}:2377")
        async with cluster(trial.store, "--capacity", str(PARALLEL), "--docker-host", host) as started:
            sides: Sides = {
                "raw": lambda: asyncio.to_thread(lambda: bare(engine, CONTAINERS).rate()),
                "podling": lambda: _podling(started, engine),
                "swarm": lambda: asyncio.to_thread(_swarm, engine, CONTAINERS),
            }
            await _round(sides, 0)  # for warming up
            rounds = [await _round(sides, number) for number in range(trial.sized(ROUNDS))]
        engine.close()
    return {
        "podling_ratio": median(one["podling"] / one["raw"] for one in rounds),
        "swarm_ratio": median(one["swarm"] / one["raw"] for one in rounds),
        **{f"{name}_rate": median(one[name] for one in rounds) for name in sides},
    }


async def _round(sides: Sides, number: int) -> dict[str, float]:
    """Measure each side once, beginning with another one each time."""
    names = list(sides)
    begin = number % len(names)
    return {name: await sides[name]() for name in names[begin:] + names[:begin]}


async def _podling(started: Cluster, engine: docker.DockerClient) -> float:
    return (await by_podling(started, engine, CONTAINERS)).rate()


def _swarm(engine: docker.DockerClient, count: int) -> float:
    """Return the rate of a replicated job."""
    deadline = time.monotonic() + SIDE_SECONDS
    begin = time.perf_counter()
    service = engine.services.create(
        IMAGE,
        command=COMMAND,
        mode=ServiceMode("replicated-job", replicas=count, concurrency=PARALLEL),
        restart_policy=RestartPolicy(condition="none"),
    )
    while sum(task["Status"]["State"] == "complete" for task in service.tasks()) < count:
        _pause(deadline)
    service.remove()
    rate = count / (time.perf_counter() - begin)
    label = f"com.docker.swarm.service.id={service.id}"
    for container in engine.containers.list(all=True, filters={"label": label}):
        container.remove(force=True)
    return rate


def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"Swarm did not end its containers within {SIDE_SECONDS:g} s")
    time.sleep(POLL_SECONDS)
