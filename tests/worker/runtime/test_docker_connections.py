"""What the Docker runtime keeps open, and what it asks of the engine."""

import os
from collections import Counter

import pytest

from podling.core.spec import ContainerSpec
from podling.kit.metrics import Histogram
from podling.worker.runtime.docker import DockerRuntime
from tests.docker_engine import IMAGE
from tests.worker.runtime.recorder import Recorder, run, work_of

CONTAINERS = 12

pytestmark = pytest.mark.docker


async def test_connections_do_not_grow_with_the_containers(
    docker_runtime: DockerRuntime, recorder: Recorder
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(CONTAINERS):
        work = work_of(f"brief-{number}", ContainerSpec(image=IMAGE, command=("true",)))
        container_id = (await docker_runtime.prepare(work)).container_id
        [_ async for _ in docker_runtime.logs(container_id)]
        await docker_runtime.remove(container_id)
    assert len(os.listdir("/proc/self/fd")) <= before + CONTAINERS


async def test_a_container_takes_four_calls_of_the_engine_from_create_to_removed(
    docker_runtime: DockerRuntime, recorder: Recorder
) -> None:
    """Its start and end are told by the one stream of events, so nothing is inspected or waited for."""
    work = [work_of(f"counted-{n}", ContainerSpec(image=IMAGE, command=("true",))) for n in range(3)]
    await run(docker_runtime, recorder, work[0])  # the image is known from now on
    before = _calls(docker_runtime)
    for one in work[1:]:
        container_id = (await run(docker_runtime, recorder, one)).container_id
        [_ async for _ in docker_runtime.logs(container_id)]
        await docker_runtime.remove(container_id)
    assert _calls(docker_runtime) - before == {"create": 2, "start": 2, "stream": 2, "remove": 2}


def _calls(runtime: DockerRuntime) -> Counter[str]:
    durations, _ = runtime.instruments()
    assert isinstance(durations, Histogram)
    seen = Counter({call: sum(cell.counts) for (call,), cell in durations.cells.items()})
    del seen["ping"], seen["image"]  # now and then, whatever the number of containers
    return seen
