"""What end-to-end tests need of the machine."""

import docker
import pytest

from tests.e2e.programs import IMAGE
from tests.support import require


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine with the small image (bin/ensure-docker, bin/make-image)."""
    require(_has_image(), f"no Docker engine answers, or it has no image {IMAGE}")


def _has_image() -> bool:
    try:
        client = docker.from_env()
        client.images.get(IMAGE)
    except docker.errors.DockerException:
        return False
    client.close()
    return True
