"""Programs inside real attempts speak to their cluster: from a bridge, without a network, as processes."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podling.client import tasks
from tests.e2e.programs import IMAGE, Programs, programs, until
from tests.e2e.python_image import PYTHON, make_python_image
from tests.support import require

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "examples/long_job.sh").read_text()
QUICK = {"ROWS": "3", "ROW_SECONDS": "0.1"}

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-inside")]


@pytest.fixture(scope="module")
def running(engine: None) -> Iterator[Programs]:
    started: Programs
    with programs("postgres", lease_seconds=15) as started:
        started.start_master()
        started.start_worker("worker", "--runtime", "docker,process", "--allow-root-processes")
        started.wait_for_workers(1)
        yield started


@pytest.fixture(scope="module")
def python_image(running: Programs) -> str:
    require(PYTHON.exists() and shutil.which("ldd") is not None, "there is no Python in /usr/bin")
    return make_python_image(ROOT)


def shell_job(running: Programs, **more: Any) -> str:
    spec = {"name": "job", "image": IMAGE, "command": ["sh", "-c", SCRIPT], "env": QUICK} | more
    return str(running.client.submit(spec)["taskId"])


def ended(running: Programs, task_id: str) -> dict[str, Any]:
    task = dict(running.client.wait(task_id, timeout_seconds=60))
    assert task["status"] == "completed", (task, output(running, task_id), running.log("worker"))
    return task


def output(running: Programs, task_id: str) -> str:
    return str(running.client.send(tasks.logs(task_id)))


def saved(running: Programs, task_id: str) -> list[int]:
    return [one["data"]["row"] for one in running.client.checkpoints.of(task_id)]


def test_a_container_on_the_bridge_needs_only_wget(running: Programs) -> None:
    task_id = shell_job(running)
    task = ended(running, task_id)
    assert (task["progress"], task["result"]) == (100, {"rows": 3})
    assert saved(running, task_id) == [3, 2, 1]
    assert running.client.cache.get("tasks:rows") == 3
    assert list(running.client.locks()) == []


def test_a_container_without_a_network_speaks_by_its_socket(running: Programs, python_image: str) -> None:
    command = ["python3", "-S", "/long_job.py"]
    spec = {"name": "job", "image": python_image, "command": command, "env": QUICK, "network": "none"}
    task_id = str(running.client.submit(spec)["taskId"])
    assert ended(running, task_id)["result"] == {"rows": 3}
    assert saved(running, task_id) == [3, 2, 1]


def test_a_plain_process_has_the_same(running: Programs) -> None:
    command = [sys.executable, str(ROOT / "examples/long_job.py")]
    spec = {"name": "job", "runtime": "process", "command": command, "env": QUICK | {"PYTHONPATH": str(ROOT)}}
    task_id = str(running.client.submit(spec)["taskId"])
    assert ended(running, task_id)["result"] == {"rows": 3}
    assert saved(running, task_id) == [3, 2, 1]


def test_an_attempt_finds_who_it_is_and_its_token_is_shown_nowhere(running: Programs) -> None:
    script = "echo $PODLING_TASK_ID $PODLING_ATTEMPT $PODLING_NODE_ID $PODLING_API $PODLING_TOKEN; sleep 60"
    task_id = shell_job(running, command=["sh", "-c", script])
    told = until("it has told", lambda: output(running, task_id).split())
    node = running.task(task_id)["nodeId"]
    assert told[:3] == [task_id, "1", node]
    assert told[3].startswith("http://") and told[3].endswith("/api/v1")
    token = told[4]
    assert token.startswith("podling_task_")
    shown = [
        json.dumps(running.task(task_id)),
        json.dumps(running.attempts(task_id)),
        json.dumps(running.client.send(tasks.timeline(task_id)).items),
        json.dumps(running.client.send(tasks.explain(task_id))),
        running.log("worker"),
        running.log("master"),
    ]
    assert not [text for text in shown if token in text or token[13:77] in text]
    running.client.send(tasks.cancel(task_id))


def test_a_running_container_speaks_on_after_its_worker_was_killed(
    running: Programs, python_image: str
) -> None:
    env = {"ROWS": "200", "ROW_SECONDS": "0.05"}
    by_socket = {"image": python_image, "command": ["python3", "-S", "/long_job.py"], "network": "none"}
    bridge = shell_job(running, env=env, command=["sh", "-c", SCRIPT.replace("long-job", "b")])
    silent = str(running.client.submit({"name": "job", "env": env} | by_socket)["taskId"])
    for task_id in (bridge, silent):
        until("it has begun", lambda task_id=task_id: saved(running, task_id))  # type: ignore[misc]
    running.kill("worker")
    seen = {task_id: saved(running, task_id)[0] for task_id in (bridge, silent)}
    running.start_worker("worker")
    for task_id in (bridge, silent):
        until("it goes on", lambda task_id=task_id: saved(running, task_id)[0] > seen[task_id] + 3)  # type: ignore[misc]
        assert running.task(task_id)["attempt"] == 1
        running.client.send(tasks.cancel(task_id))
