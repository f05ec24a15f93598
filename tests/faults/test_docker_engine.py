"""A worker whose Docker engine is killed, comes back, or hangs for longer than a lease."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import docker as sdk
import pytest

from podling.client import nodes, tasks
from tests.docker_engine import IMAGE, PrivateEngine, docker, private_engine
from tests.e2e.programs import Programs, programs, until
from tests.support import require

LEASE_SECONDS = 3.0
WORKER = "worker-1"

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("faults-engine")]


@contextmanager
def worker_on(engine: PrivateEngine) -> Iterator[Programs]:
    """Give a master and a worker whose containers are in that engine."""
    with programs("memory", LEASE_SECONDS) as running:
        running.engine.close()
        running.engine = sdk.DockerClient(base_url=engine.host)
        running.start_master()
        running.start_worker(WORKER, "--docker-host", engine.host, "--shutdown-timeout", "5")
        running.wait_for_workers(1)
        yield running


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    require(os.geteuid() == 0, "a private Docker engine needs root")
    with private_engine(*getattr(request, "param", ())) as started:
        yield started


@pytest.fixture
def running(engine: PrivateEngine) -> Iterator[Programs]:
    with worker_on(engine) as started:
        yield started


def submit(running: Programs, script: str, **more: Any) -> str:
    spec = {"name": "job", "image": IMAGE, "command": ["sh", "-c", script], "network": "none", **more}
    return str(running.client.submit(spec)["taskId"])


def node_of(running: Programs) -> dict[str, Any]:
    (node,) = running.client.list_all(nodes.listing)
    return dict(node)


def let_go(running: Programs, task_id: str) -> None:
    """End a task that waits for a file in its container."""
    until("its container is there", lambda: _made_file(running, task_id))


def _made_file(running: Programs, task_id: str) -> bool:
    container_id = running.task(task_id)["containerId"]
    return bool(container_id) and running.engine.containers.get(container_id).exec_run("touch /go")[0] == 0


WAITING = "echo begun; while [ ! -e /go ]; do sleep 0.1; done; echo over"


def test_a_hung_engine_makes_the_node_unhealthy_and_not_lost(
    engine: PrivateEngine, running: Programs
) -> None:
    task_id = submit(running, WAITING)
    running.until_status(task_id, "running")
    engine.pause()
    try:
        until("the node is unhealthy", lambda: node_of(running)["unhealthy"])
        begin = node_of(running)["lastHeartbeat"]
        later = submit(running, "true")
        until("beats go on", lambda: node_of(running)["lastHeartbeat"] > begin)
        until("a lease has passed", lambda: _leases_since(running, begin) > 1)
        assert node_of(running)["status"] == "online"
        assert "did not answer" in node_of(running)["unhealthy"]
        assert running.task(later)["status"] == "pending"
        assert "unhealthy" in str(running.client.send(tasks.explain(later)))
    finally:
        engine.resume()
    until("the node is well", lambda: node_of(running)["unhealthy"] is None)
    running.until_status(later, "completed")
    let_go(running, task_id)
    ended = running.until_status(task_id, "completed", "failed")
    assert (ended["status"], ended["attempt"]) == ("completed", 1)
    assert running.client.send(tasks.logs(task_id)) == "begun\nover\n"


def _leases_since(running: Programs, begin: str) -> float:
    latest = node_of(running)["lastHeartbeat"]
    passed = datetime.fromisoformat(latest) - datetime.fromisoformat(begin)
    return passed.total_seconds() / LEASE_SECONDS


@pytest.mark.soak
def test_a_killed_engine_takes_its_containers_along_and_the_task_starts_again(
    engine: PrivateEngine, running: Programs
) -> None:
    task_id = submit(running, "[ $PODLING_ATTEMPT = 1 ] && exec sleep 1000; echo again")
    running.until_status(task_id, "running")
    engine.kill()
    engine.start()
    ended = running.until_status(task_id, "completed", "failed")
    assert (ended["status"], ended["attempt"]) == ("completed", 2), running.attempts(task_id)
    first, _ = running.attempts(task_id)
    assert (first["status"], first["errorCode"]) == ("failed", "RUNTIME")
    assert node_of(running)["status"] == "online"
    assert "is lost" not in running.log("master")
    until("no container is left", lambda: not running.containers())


@pytest.mark.soak
@pytest.mark.parametrize("engine", [["--live-restore"]], indirect=True)
def test_an_engine_with_live_restore_may_be_killed(engine: PrivateEngine, running: Programs) -> None:
    task_id = submit(running, WAITING)
    running.until_status(task_id, "running")
    engine.kill()
    until("the node is unhealthy", lambda: node_of(running)["unhealthy"])
    engine.start()
    let_go(running, task_id)
    ended = running.until_status(task_id, "completed", "failed")
    assert (ended["status"], ended["attempt"], ended["exitCode"]) == ("completed", 1, 0)
    assert running.client.send(tasks.logs(task_id)) == "begun\nover\n"


@pytest.mark.soak
def test_an_end_that_nobody_saw_is_null_with_a_reason(engine: PrivateEngine, running: Programs) -> None:
    task_id = submit(running, "sleep 1000", maxLosses=0)
    container_id = running.until_status(task_id, "running")["containerId"]
    pid = int(docker("inspect", "-f", "{{.State.Pid}}", container_id, host=engine.host))
    shim = int(Path(f"/proc/{pid}/stat").read_text().split()[3])
    engine.kill()
    for victim in (shim, pid):
        os.kill(victim, signal.SIGKILL)
    engine.start()
    ended = running.until_status(task_id, "completed", "failed")
    assert (ended["status"], ended["errorCode"], ended["exitCode"]) == ("failed", "UNKNOWN_EXIT", None)
    assert ended["deadLetterReason"] == "MAX_LOSSES_EXCEEDED"
    (attempt,) = running.attempts(task_id)
    assert (attempt["errorCode"], attempt["exitCode"]) == ("UNKNOWN_EXIT", None)
    assert attempt["error"]


@pytest.mark.soak
def test_a_worker_may_die_with_its_engine(engine: PrivateEngine, running: Programs) -> None:
    """Both are gone at once, as after a power cut; the worker comes back first and waits."""
    task_id = submit(running, "[ $PODLING_ATTEMPT = 1 ] && exec sleep 1000; echo again")
    running.until_status(task_id, "running")
    engine.kill()
    running.kill(WORKER)
    engine.start()
    running.start_worker(WORKER)
    ended = running.until_status(task_id, "completed", "failed")
    assert (ended["status"], ended["attempt"]) == ("completed", 2), running.attempts(task_id)
    first, _ = running.attempts(task_id)
    assert first["errorCode"] in ("RUNTIME", "UNKNOWN_EXIT", "NODE_LOST")
    assert first["exitCode"] != 0
    until("no container is left", lambda: not running.containers())
