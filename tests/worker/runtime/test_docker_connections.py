"""What the Docker runtime keeps open."""

import os

import pytest

from podling.core.spec import ContainerSpec
from podling.worker.runtime.docker import DockerRuntime
from tests.docker_engine import IMAGE
from tests.worker.runtime.recorder import Recorder, work_of

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
