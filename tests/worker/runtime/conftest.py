"""What the tests of runtimes share."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from podling.worker.runtime.docker import DockerRuntime
from tests.docker_engine import engine_answers, make_image, remove_containers
from tests.support import require
from tests.worker.runtime.recorder import Recorder


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def image() -> str:
    """The small image on the shared engine."""
    require(engine_answers(), "no Docker engine answers; bin/ensure-docker starts one")
    return make_image()


@pytest.fixture
def cluster() -> Iterator[str]:
    """A cluster's name of one's own; its containers are removed afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    yield name
    remove_containers(f"podling.io/cluster={name}")


@pytest.fixture
async def docker_runtime(image: str, cluster: str, recorder: Recorder) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(cluster, "node-1")
    await runtime.open(recorder)
    yield runtime
    await runtime.close()
