"""A worker that stands still past its lease (SIGSTOP), and then goes on as if nothing had been.

While it stands still it cannot stop its containers, so here, and only here, two attempts of an
`at_least_once` task may run side by side; what the older one tells changes nothing.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from podling.client import nodes
from tests.e2e.conftest import engine
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import Programs, programs, until
from tests.faults.figures import remove_containers
from tests.faults.pulses import overlaps, pulsing, spans

__all__ = ["engine"]

LEASE_SECONDS = 3.0
WORKERS = ("worker-1", "worker-2")

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("faults-workers")]


@pytest.fixture(scope="module")
def running(engine: None) -> Iterator[Programs]:
    with programs("memory", LEASE_SECONDS) as started:
        started.start_master()
        for name in WORKERS:
            started.start_worker(name, "--capacity", "4", "--shutdown-timeout", "5")
        started.wait_for_workers(len(WORKERS))
        yield started


@pytest.fixture(scope="module")
def written(running: Programs) -> Iterator[Ledger]:
    with ledger(running.engine) as made:
        yield made
        remove_containers(running)


def started_on(running: Programs, written: Ledger, seconds: float, **more: str) -> tuple[str, str]:
    """Submit a task; return its id and its worker, once it pulses."""
    running.wait_for_workers(len(WORKERS))
    task_id = str(running.client.submit(pulsing(written, "paused", seconds, **more))["taskId"])
    until("it pulses", lambda: spans(written, task_id))
    node_id = until("it is told to run", lambda: running.task(task_id)["nodeId"])
    return task_id, str(running.client.send(nodes.read(node_id))["hostname"])


def refusal_of(running: Programs, task_id: str, attempt: int) -> tuple[int, str]:
    """Return status and code that a report of an attempt gets by REST."""
    body = json.dumps({"status": "completed", "exitCode": 0, "attempt": attempt}).encode()
    url = f"{running.master_url}/api/v1/tasks/{task_id}/status"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, method="PUT", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    return caught.value.code, str(json.load(caught.value)["code"])


def test_what_a_paused_worker_ran_is_stopped_when_it_goes_on(running: Programs, written: Ledger) -> None:
    task_id, worker = started_on(running, written, 8.0)
    running.pause(worker)
    try:
        until("the task runs elsewhere", lambda: len(spans(written, task_id)) == 2)
        until("both run", lambda: overlaps(spans(written, task_id)))
        assert refusal_of(running, task_id, 1) == (409, "stale_attempt")
    finally:
        running.resume(worker)
    running.wait_for_workers(len(WORKERS))
    ended = until("it ends", lambda: _ended(running, task_id))
    assert (ended["status"], ended["attempt"]) == ("completed", 2)
    assert written.ends()[(task_id, 1)] == 0
    assert written.ends()[(task_id, 2)] == 1
    first, _ = running.attempts(task_id)
    assert (first["status"], first["errorCode"], first["exitCode"]) == ("lost", "NODE_LOST", None)
    until("no container is left", lambda: not running.containers())


@pytest.mark.soak
def test_what_a_paused_worker_keeps_goes_on_with_it(running: Programs, written: Ledger) -> None:
    task_id, worker = started_on(running, written, 7.0, onDisconnect="keep", onLost="hold")
    running.pause(worker)
    try:
        until("it is held", lambda: running.task(task_id).get("held"))
    finally:
        running.resume(worker)
    ended = until("it ends", lambda: _ended(running, task_id))
    assert (ended["status"], ended["attempt"], ended["exitCode"]) == ("completed", 1, 0)
    assert (written.starts()[(task_id, 1)], written.ends()[(task_id, 1)]) == (1, 1)
    until("no container is left", lambda: not running.containers())


def _ended(running: Programs, task_id: str) -> dict[str, object] | None:
    task = running.task(task_id)
    return task if task["status"] in ("completed", "failed", "cancelled") else None
