"""Programs inside real attempts speak to their cluster: from a bridge, without a network, as processes."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podling.client import nodes, tasks
from podling.client import tokens as tokens_
from podling.client.call import Call, text
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
    with programs("postgres", lease_seconds=60) as started:
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


def cancel(running: Programs, task_id: str) -> None:
    """Stop it, and leave no container behind."""
    running.client.send(tasks.cancel(task_id))
    running.client.wait(task_id, timeout_seconds=60)


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


def test_an_attempt_finds_who_it_is(running: Programs) -> None:
    script = "echo $PODLING_TASK_ID $PODLING_ATTEMPT $PODLING_NODE_ID $PODLING_API"
    task_id = shell_job(running, command=["sh", "-c", script])
    task = ended(running, task_id)
    told = output(running, task_id).split()
    assert told[:3] == [task_id, "1", task["nodeId"]]
    assert told[3].startswith("http://") and told[3].endswith("/api/v1")


def test_a_token_is_nowhere_but_with_its_attempt(running: Programs) -> None:
    """I40."""
    process = ["sh", "-c", "sleep 60"]
    spec = {"name": "job", "runtime": "process", "command": process}
    task_ids = [str(running.client.submit(spec)["taskId"]), shell_job(running, env={"ROWS": "1000"})]
    until("it has spoken", lambda: saved(running, task_ids[1]))
    (container,) = [one for one in running.containers() if task_ids[1] in one.name]
    environment = dict(line.split("=", 1) for line in container.attrs["Config"]["Env"])
    tokens = [environment["PODLING_TOKEN"], token_of_process(task_ids[0])]
    for task_id in task_ids:
        cancel(running, task_id)
    shown = [running.client.send(call) for task_id in task_ids for call in reads(task_id)]
    shown += [running.client.send(nodes.listing()).items, running.client.send(tokens_.listing()).items]
    found = [place for place in shown if any(token[13:77] in json.dumps(place) for token in tokens)]
    pattern = "|".join(token[13:77] for token in tokens)
    files = subprocess.run(["grep", "-rlaE", pattern, running.directory], capture_output=True, text=True)
    assert (found, files.returncode, files.stdout) == ([], 1, "")


def reads(task_id: str) -> list[Call[Any]]:
    lists: list[Call[Any]] = [tasks.attempts(task_id), tasks.timeline(task_id)]
    whole: list[Call[Any]] = [tasks.read(task_id), tasks.explain(task_id), tasks.logs(task_id)]
    return [*whole, *(replace(call, parse=text) for call in lists)]


def token_of_process(task_id: str) -> str:
    """Return what a plain process has in its environment, which only its own user can read."""

    def find() -> str | None:
        for file in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if task_id.encode() in (known := file.read_bytes()):
                    found = re.search(rb"PODLING_TOKEN=(podling_task_[^\0]+)", known)
                    return found and found[1].decode()
        return None

    return until("the process runs", find)


def test_a_running_container_speaks_on_after_its_worker_was_killed(
    running: Programs, python_image: str
) -> None:
    env = {"ROWS": "100000", "ROW_SECONDS": "0.05"}
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
        cancel(running, task_id)
