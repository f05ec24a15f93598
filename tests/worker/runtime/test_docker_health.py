"""The health check of an image, by the real engine."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from podling.core.spec import ContainerSpec
from podling.core.task import HealthStatus
from podling.worker.runtime.docker import DockerRuntime
from tests.docker_engine import docker
from tests.worker.runtime.containers import name
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, work_of

pytestmark = pytest.mark.docker
CHECK = "HEALTHCHECK --interval=200ms --retries=1 CMD test -e /tmp/well"


@pytest.fixture
def checked(image: str) -> Iterator[str]:
    """The small image with a health check."""
    made, container = f"podling-test-checked:{uuid4().hex[:8]}", name()
    docker("create", "--name", container, image, "true")
    docker("commit", "--change", CHECK, container, made)
    docker("rm", container)
    yield made
    docker("rmi", "-f", made)


async def test_its_changes_are_told_and_found_again(
    docker_runtime: DockerRuntime, recorder: Recorder, checked: str, cluster: str
) -> None:
    spec = ContainerSpec(image=checked, command=("sleep",), args=("1000",), tmpfs={"/tmp": ""})
    container_id = (await docker_runtime.prepare(work_of(name(), spec))).container_id
    await docker_runtime.start(container_id)
    await recorder.judged(container_id, HealthStatus.UNHEALTHY)
    docker("exec", container_id, "touch", "/tmp/well")
    await recorder.judged(container_id, HealthStatus.HEALTHY)
    again = DockerRuntime(cluster, "node-1")
    await again.open(recorder)
    (found,) = await again.inventory()
    await again.close()
    assert found.health is HealthStatus.HEALTHY
    await docker_runtime.stop(container_id, None, 0)
    assert (await recorder.exit_of(container_id)).health is HealthStatus.UNKNOWN


async def test_a_change_that_no_event_told_is_found_by_comparison(
    docker_runtime: DockerRuntime, recorder: Recorder, checked: str
) -> None:
    lost = asyncio.Event()
    docker_runtime._watch._handlers["health_status"] = lambda container_id, event: lost.set()
    spec = ContainerSpec(image=checked, command=("sleep",), args=("1000",), tmpfs={"/tmp": ""})
    container_id = (await docker_runtime.prepare(work_of(name(), spec))).container_id
    await docker_runtime.start(container_id)
    await asyncio.wait_for(lost.wait(), DEADLINE_SECONDS)
    await docker_runtime.inventory()
    await recorder.judged(container_id, HealthStatus.UNHEALTHY)
    await docker_runtime.remove(container_id)
