"""Workers that end, come back or stay away, with real containers."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from podling.client import nodes, tasks
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import IMAGE, Programs, programs, until
from tests.e2e.test_tasks import podling

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-losses")]

MANY = 50


@pytest.fixture
def running(engine: None) -> Iterator[Programs]:
    with programs(lease_seconds=20.0) as started:
        started.start_master()
        yield started


@pytest.fixture
def written(running: Programs) -> Iterator[Ledger]:
    with ledger(running.engine) as made:
        yield made


def _status(running: Programs, task_id: str, *wanted: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        task = running.task(task_id)
        return task if task["status"] in wanted else None

    return until(f"{task_id} is {' or '.join(wanted)}", reached)


def test_a_worker_back_within_its_lease_goes_on(running: Programs, written: Ledger) -> None:
    running.start_worker("worker-1")
    running.wait_for_workers(1)
    task_id = str(running.client.submit(written.spec("long", IMAGE, 4))["taskId"])
    before = _status(running, task_id, "running")
    running.kill("worker-1")
    running.start_worker("worker-1")
    task = _status(running, task_id, "completed", "failed")
    assert (task["status"], task["attempt"]) == ("completed", 1)
    assert task["containerId"] == before["containerId"]
    assert written.starts()[(task_id, 1)] == 1
    until("no container is left", lambda: not running.containers())


def test_a_worker_that_stays_away_loses_its_task_to_another(running: Programs, written: Ledger) -> None:
    for name in ("worker-1", "worker-2"):
        running.start_worker(name)
    running.wait_for_workers(2)
    task_id = str(running.client.submit(written.spec("long", IMAGE, 10))["taskId"])
    node_id = _status(running, task_id, "running")["nodeId"]
    name = str(running.client.send(nodes.read(node_id))["hostname"])
    running.kill(name)
    task = _status(running, task_id, "completed", "failed")
    assert (task["status"], task["attempt"]) == ("completed", 2)
    first, second = running.attempts(task_id)
    assert (first["status"], first["errorCode"]) == ("lost", "NODE_LOST")
    assert second["nodeId"] != first["nodeId"]
    running.start_worker(name)  # it finds what it left behind, and removes it
    until("no container is left", lambda: not running.containers())


def test_a_log_outlives_container_and_worker(running: Programs) -> None:
    running.start_worker("worker-1")
    running.wait_for_workers(1)
    spec = {"name": "last-words", "image": IMAGE, "command": ["sh", "-c", "echo remember me"]}
    task_id = str(running.client.submit(spec)["taskId"])
    _status(running, task_id, "completed")
    until("no container is left", lambda: not running.containers())
    assert running.terminate("worker-1") == 0
    assert podling(running, "logs", task_id).stdout == "remember me\n"


def test_a_restarted_worker_adopts_fifty_containers(running: Programs) -> None:
    running.start_worker("worker-1", "--capacity", str(MANY))
    running.wait_for_workers(1)
    spec = {
        "name": "many",
        "image": IMAGE,
        "network": "none",
        "command": ["sleep", "300"],
        "stopGraceSeconds": 0,
    }
    running.client.send(tasks.submit_batch([spec] * MANY))
    until("all run", lambda: len(_running(running)) == MANY)
    before = {task["taskId"]: (task["containerId"], task["attempt"]) for task in _running(running)}
    running.kill("worker-1")
    running.start_worker("worker-1")
    held = until("all are adopted", lambda: _adopted(running, list(before)))
    assert held == MANY
    after = {task["taskId"]: (task["containerId"], task["attempt"]) for task in _running(running)}
    assert after == before
    for task_id in before:
        running.client.send(tasks.cancel(task_id))
    until("no container is left", lambda: not running.containers())


def _running(running: Programs) -> list[Any]:
    return list(running.client.send(tasks.listing(statuses=["running"], limit=500)).items)


def _adopted(running: Programs, task_ids: list[str]) -> int | None:
    """Return how many attempts the worker says it runs, once it is all of them."""
    for task_id in task_ids:
        url = f"{running.worker_url('worker-1')}/api/v1/tasks/{task_id}/status"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if json.load(answer)["status"] != "running":
                    return None
        except urllib.error.URLError:
            return None
    return len(task_ids)
