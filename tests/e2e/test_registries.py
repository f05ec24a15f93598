"""A registry that goes and comes back, with a real engine: its breaker opens, is named, and closes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_engine import IMAGE, docker
from tests.docker_registry import free_port, registry_at
from tests.e2e.programs import Programs, programs, until
from tests.e2e.test_functions import podling

FAILURES = 5


@pytest.fixture
def running(engine: None) -> Iterator[Programs]:
    with programs("memory", lease_seconds=30.0) as started:
        started.start_master()
        started.start_worker("worker")
        started.wait_for_workers(1)
        yield started


def pushed(registry: str) -> list[str]:
    """Return images that are in the registry alone."""
    images = [f"{registry}/podling-test:{number}" for number in range(FAILURES)]
    for image in images:
        docker("tag", IMAGE, image)
        docker("push", image)
        docker("rmi", image)
    return images


def submit(running: Programs, image: str) -> str:
    spec = {"name": "job", "image": image, "command": ["true"], "maxAttempts": 1}
    return str(running.client.submit(spec)["taskId"])


def breaker_of(running: Programs, key: str) -> dict[str, Any]:
    listed = json.loads(podling(running, "breaker", "list", "--json").stdout)
    return next((one for one in listed if one["key"] == key), {"state": None})


def test_a_registry_that_is_away_is_left_alone_until_one_pull_succeeds(
    running: Programs, tmp_path: Path
) -> None:
    port = free_port()
    with registry_at(port, tmp_path) as registry:
        images = pushed(registry)
    key = f"registry/{registry}"
    try:
        for task_id in [submit(running, image) for image in images]:
            task = running.client.wait(task_id, timeout_seconds=60)
            assert (task["status"], task["errorCode"]) == ("failed", "IMAGE_PULL"), task
        until("the breaker opens", lambda: breaker_of(running, key)["state"] == "open" or None)
        held = submit(running, images[0])
        until("explain names it", lambda: key in podling(running, "explain", held).stdout or None)
        assert held in podling(running, "decisions", "--code", "REGISTRY_FAILING", "--json").stdout
        with registry_at(port, tmp_path):
            assert podling(running, "breaker", "set", key, "half-open").returncode == 0
            assert running.client.wait(held, timeout_seconds=60)["status"] == "completed"
            until("the breaker closes", lambda: breaker_of(running, key)["state"] == "closed" or None)
    finally:
        for image in images:
            if docker("images", "-q", image):
                docker("rmi", "-f", image)
