"""What a container, a registry or a hand at the engine may do to a task and to its neighbours."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from docker.errors import APIError

from podling.client import nodes, tasks
from tests.docker_engine import IMAGE, docker
from tests.e2e.conftest import engine
from tests.e2e.programs import Programs, programs, until
from tests.faults.figures import remove_containers, tell
from tests.faults.proxy import Cut, Message, Proxy, proxy
from tests.relay import Way
from tests.support import IN_SOAK
from tests.worker.runtime.test_docker_pulls import credentials, log_in, registry

__all__ = ["credentials", "engine", "registry"]

WORKER = "worker-1"
MANY = 50 if IN_SOAK else 10
MEBIBYTE = 2**20
LOG_KEPT_BYTES = 50 * MEBIBYTE  # a little more than HEAD_BYTES and RING_BYTES of podling.worker.log_files

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("faults-tasks")]


@pytest.fixture
def running(engine: None, request: pytest.FixtureRequest) -> Iterator[Programs]:
    if "registry" in request.fixturenames:
        request.getfixturevalue("registry")  # first: the worker inherits where the credentials are
    with programs("memory", 20.0) as started:
        started.start_master()
        started.start_worker(WORKER, "--capacity", str(MANY), "--shutdown-timeout", "5")
        started.wait_for_workers(1)
        yield started
        remove_containers(started)


def spec_of(script: str, **more: Any) -> dict[str, Any]:
    return {"name": "job", "image": IMAGE, "command": ["sh", "-c", script], "network": "none", **more}


def submit(running: Programs, script: str, **more: Any) -> str:
    return str(running.client.submit(spec_of(script, **more))["taskId"])


def until_ended(running: Programs, task_id: str, seconds: float = 60.0) -> dict[str, Any]:
    return running.until_status(task_id, "completed", "failed", "cancelled", seconds=seconds)


def check_neighbour(running: Programs) -> None:
    """Another task is run meanwhile, and the node is well."""
    assert until_ended(running, submit(running, "echo here"))["status"] == "completed"
    (node,) = running.client.list_all(nodes.listing)
    assert (node["status"], node["unhealthy"]) == ("online", None)


# By hand


def test_a_container_removed_by_hand_is_external_and_tried_again(running: Programs) -> None:
    task_id = submit(running, "echo begun; [ $PODLING_ATTEMPT = 1 ] && exec sleep 1000; echo again")
    container_id = running.until_status(task_id, "running")["containerId"]
    docker("rm", "-f", container_id)
    ended = until_ended(running, task_id)
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    first, _ = running.attempts(task_id)
    assert (first["status"], first["errorCode"], first["exitCode"]) == ("failed", "EXTERNAL", 137)
    log = until("its log says what is missing", lambda: _log(running, task_id, 1))
    assert "missing" in log
    assert running.client.send(tasks.logs(task_id)) == "begun\nagain\n"


def _log(running: Programs, task_id: str, attempt: int) -> str:
    return str(running.client.send(tasks.logs(task_id, attempt=attempt)))


@pytest.mark.soak
def test_a_container_killed_by_hand_is_external_and_tried_again(running: Programs) -> None:
    task_id = submit(running, "[ $PODLING_ATTEMPT = 1 ] && exec sleep 1000; echo again")
    docker("kill", running.until_status(task_id, "running")["containerId"])
    ended = until_ended(running, task_id)
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    assert running.attempts(task_id)[0]["errorCode"] == "EXTERNAL"


# Images


@pytest.fixture
def repository(engine: None, registry: str, credentials: Path) -> Iterator[str]:
    """The name of an image that is in the registry and not in the engine, without its registry."""
    log_in(credentials, registry, "secret")
    name = f"podling-test:{uuid4().hex[:8]}"
    docker("tag", IMAGE, f"{registry}/{name}")
    docker("push", f"{registry}/{name}")
    docker("rmi", f"{registry}/{name}")
    yield name
    for reference in docker("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if reference.endswith(f"/{name}"):
            docker("rmi", "-f", reference)


@pytest.fixture
def slow(registry: str, credentials: Path) -> Iterator[Proxy]:
    """The registry behind a line whose delay can be set."""
    with proxy(int(registry.rpartition(":")[2])) as between:
        log_in(credentials, f"127.0.0.1:{between.port}", "secret")
        yield between


def test_an_image_that_is_missing_or_refused_is_a_typed_reason(
    registry: str, repository: str, credentials: Path, running: Programs
) -> None:
    log_in(credentials, registry, "wrong")
    images = {
        "IMAGE_MISSING": {"image": f"nowhere/{uuid4().hex}:1", "pullPolicy": "Never"},
        "IMAGE_AUTH": {"image": f"{registry}/{repository}"},
    }
    for code, fields in images.items():
        ended = until_ended(running, submit(running, "true", **fields))
        assert (ended["status"], ended["errorCode"], ended["exitCode"]) == ("failed", code, None)
        assert fields["image"] in ended["error"]
    refused = until_ended(running, submit(running, "true", image=f"{registry}/{repository}"))
    assert refused["errorCode"] == "IMAGE_AUTH"
    check_neighbour(running)


def test_many_tasks_of_a_slow_image_are_one_pull_and_hold_up_nobody(
    repository: str, slow: Proxy, running: Programs
) -> None:
    asked: list[bytes] = []

    def note(message: Message) -> Sequence[bytes]:
        asked.append(message.text.partition(b"\r\n")[0])
        return (message.raw,)

    slow.rules[Way.UP] = note
    slow.delay_seconds = 0.5
    image = f"127.0.0.1:{slow.port}/{repository}"
    # They end one after another: some engines lock themselves up when many end at the same moment.
    specs = [spec_of(f"sleep {number / 5}", image=image) for number in range(MANY)]
    items = running.client.send(tasks.submit_batch(specs))
    until("the pull has begun", lambda: slow.connections)
    check_neighbour(running)
    slow.delay_seconds = 0.0
    for item in items:
        ended = until_ended(running, item["taskId"])
        assert (ended["status"], ended["attempt"]) == ("completed", 1)
    assert sum(line.startswith(b"HEAD /v2/podling-test/manifests/") for line in asked) == 1, asked


@pytest.mark.soak
def test_a_pull_that_breaks_off_is_tried_again(repository: str, slow: Proxy, running: Programs) -> None:
    broken: list[int] = []

    def cut(message: Message) -> Sequence[bytes]:
        broken.append(len(message.raw))
        raise Cut(message.raw[: len(message.raw) // 2])

    slow.rules[Way.DOWN] = cut
    image = f"127.0.0.1:{slow.port}/{repository}"
    task_id = submit(running, "true", image=image, maxAttempts=5)
    until("it breaks off", lambda: broken)
    slow.heal()
    assert until_ended(running, task_id)["status"] == "completed"


# Containers that take more than they should


def test_a_container_that_takes_too_much_memory_is_told_as_such(running: Programs) -> None:
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    task_id = submit(running, "exec tail /dev/zero", **limits)
    ended = until_ended(running, task_id)
    assert (ended["status"], ended["errorCode"], ended["exitCode"]) == ("failed", "OOM", 137)
    check_neighbour(running)


@pytest.mark.soak
def test_a_fork_bomb_ends_in_its_container(running: Programs) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    limits = {"resources": {"limits": {"cpu": "500m", "memory": "256Mi"}}, "stopGraceSeconds": 0}
    task_id = submit(running, bomb, timeoutSeconds=10, **limits)
    container_id = running.until_status(task_id, "running", "failed")["containerId"]
    most = 0
    until("a neighbour is run meanwhile", lambda: check_neighbour(running) or True)
    with suppress(APIError):
        container = running.engine.containers.get(container_id)
        most = container.stats(stream=False)["pids_stats"].get("current", 0)
        assert most <= 4096
    tell(f"fork bomb: {most} processes at most")
    ended = until_ended(running, task_id, 120)
    assert ended["status"] == "failed"
    assert ended["errorCode"] in ("TIMEOUT", "OOM", "EXIT_CODE")
    until("no container is left", lambda: not running.containers(), 120)
    check_neighbour(running)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_flood_of_log_is_capped_and_says_so(running: Programs) -> None:
    flood = "yes 'a line of forty characters, or thereabouts' | head -c 300000000"
    begin = time.monotonic()
    task_id = submit(running, f"{flood}; echo the last line", timeoutSeconds=100)
    check_neighbour(running)
    ended = until_ended(running, task_id, 150)
    seconds = time.monotonic() - begin
    tell(f"flood of log: 300 MB in {seconds:.0f} s")
    assert ended["status"] == "completed"
    # The container goes when its log is kept: the beginning, the end, and what is missing between them.
    until("no container is left", lambda: not running.containers(), 120)
    log = b"".join(running.client.stream(tasks.logs(task_id))).decode()
    assert len(log) < LOG_KEPT_BYTES
    assert "missing" in log
    assert log.endswith("the last line\n")


@pytest.mark.soak
def test_many_hands_remove_many_containers(running: Programs) -> None:
    script = "[ $PODLING_ATTEMPT -lt 3 ] && exec sleep 1000; echo again"
    submitted = [submit(running, script, retry={"baseSeconds": 0.1}) for _ in range(20)]

    def remove(task_id: str) -> None:
        for attempt in (1, 2):
            task = until("it runs", partial(_running, running, task_id, attempt))
            docker("rm", "-f", task["containerId"])

    with ThreadPoolExecutor(4) as hands:
        list(hands.map(remove, submitted))
    for task_id in submitted:
        ended = until_ended(running, task_id)
        assert (ended["status"], ended["attempt"]) == ("completed", 3)
        assert [one["errorCode"] for one in running.attempts(task_id)] == ["EXTERNAL", "EXTERNAL", None]


def _running(running: Programs, task_id: str, attempt: int) -> dict[str, Any] | None:
    task = running.task(task_id)
    return task if (task["status"], task["attempt"]) == ("running", attempt) else None
