"""An operator empties and removes nodes, with real programs and containers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from podling.client import nodes, tasks
from tests.e2e.programs import IMAGE, Programs, programs, until
from tests.e2e.test_tasks import podling

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-drain")]

SLEEP = {"image": IMAGE, "command": ["sleep", "300"], "network": "none", "stopGraceSeconds": 0}


@pytest.fixture
def running(engine: None) -> Iterator[Programs]:
    with programs(lease_seconds=20.0) as started:
        started.start_master()
        for name in ("worker-1", "worker-2"):
            started.start_worker(name)
        started.wait_for_workers(2)
        yield started


def _node(running: Programs, name: str) -> dict[str, Any]:
    return next(node for node in running.client.list_all(nodes.listing) if node["hostname"] == name)


def _runs(running: Programs, task_id: str, attempt: int = 1) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        task = running.task(task_id)
        return task if (task["status"], task["attempt"]) == ("running", attempt) else None

    return until(f"attempt {attempt} of {task_id} runs", found)


def test_a_drained_node_is_left_empty_until_it_is_uncordoned(running: Programs) -> None:
    """I19, over restarts of its worker and of the master."""
    task_id = str(running.client.submit({"name": "moves", **SLEEP})["taskId"])
    node_id = _runs(running, task_id)["nodeId"]
    name = str(running.client.send(nodes.read(node_id))["hostname"])
    drained = podling(running, "node", "drain", name, "--deadline", "0", "--wait", "--timeout", "60")
    assert (drained.returncode, drained.stdout) == (0, f"{node_id} is drained\n")
    task = _runs(running, task_id, 2)
    assert task["nodeId"] != node_id
    first = running.attempts(task_id)[0]
    assert (first["status"], first["errorCode"]) == ("cancelled", "DRAINED")
    until("the old container is gone", lambda: len(running.containers()) == 1)

    assert running.terminate(name) == 0
    stopped = until("it is offline", lambda: _offline(running, name))
    assert stopped["lostReason"] == "its worker was stopped: it got SIGTERM"
    assert running.terminate("master") == 0
    running.start_master()
    running.start_worker(name)
    until("it is back", lambda: _node(running, name)["status"] == "online")
    assert "drained" in podling(running, "nodes").stdout
    other = str(running.client.submit({"name": "elsewhere", **SLEEP})["taskId"])
    assert _runs(running, other)["nodeId"] != node_id
    running.client.send(nodes.uncordon(node_id))
    pinned = {"name": "back", **SLEEP, "placement": {"spread": "none"}}
    until("it takes work again", lambda: _lands_on(running, node_id, pinned))
    for item in running.client.send(tasks.listing(statuses=["running", "scheduled"])).items:
        running.client.send(tasks.cancel(item["taskId"]))
    until("no container is left", lambda: not running.containers())


def _offline(running: Programs, name: str) -> dict[str, Any] | None:
    node = _node(running, name)
    return node if node["status"] == "offline" else None


def _lands_on(running: Programs, node_id: str, spec: dict[str, Any]) -> bool:
    return bool(_runs(running, str(running.client.submit(spec)["taskId"]))["nodeId"] == node_id)


def test_a_dead_node_is_given_up_and_what_it_left_is_removed_when_it_returns(running: Programs) -> None:
    task_id = str(running.client.submit({"name": "moves", **SLEEP})["taskId"])
    node_id = _runs(running, task_id)["nodeId"]
    name = str(running.client.send(nodes.read(node_id))["hostname"])
    running.kill(name)
    assert podling(running, "node", "remove", name, "--lost", "--yes").returncode == 0
    assert _runs(running, task_id, 2)["nodeId"] != node_id
    running.start_worker(name)
    until("only the second attempt's container is left", lambda: len(running.containers()) == 1)
    lines = json.loads(podling(running, "timeline", task_id, "--json").stdout)
    assert "overlap" in [line["type"] for line in lines]
    running.client.send(tasks.cancel(task_id))
    until("no container is left", lambda: not running.containers())
