"""A worker that the network cuts off: in both directions, in one, and with lost packets.

The cables are real, the containers are real, and what ran when is told by the containers' own
ledger: as long as the worker's program lives, no two attempts of a task run at the same time.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from podling.client import nodes, tasks
from tests.e2e.conftest import engine
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import until
from tests.faults.figures import remove_containers
from tests.faults.hosts import Spread, spread
from tests.faults.pulses import Spans, overlaps, pulsing, spans

__all__ = ["engine"]

LEASE_SECONDS = 4.0
WORKERS = ("worker-1", "worker-2")
LONG = 1000.0  # longer than any of these tests takes

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("faults-network")]


@pytest.fixture(scope="module")
def started(engine: None) -> Iterator[Spread]:
    with spread(LEASE_SECONDS, WORKERS) as running:
        yield running


@pytest.fixture
def running(started: Spread) -> Iterator[Spread]:
    """The cluster, whole; afterwards it is made whole again, and emptied."""
    started.wait_for_workers(len(WORKERS))
    yield started
    started.network.heal()
    for task in started.client.send(tasks.listing(statuses=["pending", "scheduled", "running"])).items:
        started.client.send(tasks.cancel(task["taskId"]))
    remove_containers(started)
    started.wait_for_workers(len(WORKERS))
    until("no container is left", lambda: not started.containers())


@pytest.fixture(scope="module")
def written(started: Spread) -> Iterator[Ledger]:
    with ledger(started.engine) as made:
        yield made


def runs(running: Spread, task_id: str, attempt: int) -> dict[str, Any]:
    """Wait until that attempt of the task runs, and return the task."""

    def reached() -> dict[str, Any] | None:
        task = running.task(task_id)
        return task if (task["status"], task["attempt"]) == ("running", attempt) else None

    return until(f"attempt {attempt} of {task_id} runs", reached)


def host_of(running: Spread, task: dict[str, Any]) -> str:
    return str(running.client.send(nodes.read(task["nodeId"]))["hostname"])


def started_on(running: Spread, written: Ledger, **more: Any) -> tuple[str, str]:
    """Submit a long task; return its id and its host, once it pulses."""
    spec = pulsing(written, "long", LONG, stopGraceSeconds=30, **more)
    task_id = str(running.client.submit(spec)["taskId"])
    host = host_of(running, runs(running, task_id, 1))
    until("it pulses", lambda: spans(written, task_id))
    return task_id, host


def check_moved(running: Spread, written: Ledger, task_id: str, host: str) -> None:
    """The second attempt runs elsewhere, and has begun after the first had ended."""
    assert host_of(running, runs(running, task_id, 2)) != host
    found = both_spans(written, task_id)
    assert overlaps(found) == [], found
    first, second = running.attempts(task_id)
    assert (first["status"], first["errorCode"]) == ("lost", "NODE_LOST")
    assert second["nodeId"] != first["nodeId"]


def both_spans(written: Ledger, task_id: str) -> Spans:
    """Return the spans of both attempts, once there are two."""

    def both() -> Spans | None:
        found = spans(written, task_id)
        return found if len(found) == 2 else None

    return until("both attempts have run", both)


@pytest.mark.soak
def test_a_cut_shorter_than_a_third_of_the_lease_is_not_noticed(running: Spread, written: Ledger) -> None:
    task_id, host = started_on(running, written)
    running.network.cut(host)
    first = max(end for _, end in spans(written, task_id).values())
    until("it pulses on", lambda: spans(written, task_id)[1][1] > first + LEASE_SECONDS / 6)
    running.network.heal()
    until("it pulses for a lease more", lambda: spans(written, task_id)[1][1] > first + 2 * LEASE_SECONDS)
    assert running.task(task_id)["attempt"] == 1
    assert running.online() == len(WORKERS)


def test_what_keeps_on_survives_a_cut(running: Spread, written: Ledger) -> None:
    task_id, host = started_on(running, written, onDisconnect="keep", onLost="hold")
    running.network.cut(host)
    until("its node is lost", lambda: running.online() == len(WORKERS) - 1)
    cut_until = max(end for _, end in spans(written, task_id).values())
    running.network.heal()
    running.wait_for_workers(len(WORKERS))
    until("it pulses on", lambda: spans(written, task_id)[1][1] > cut_until)
    task = until("it is held no more", lambda: _unheld(running.task(task_id)))
    assert (task["status"], task["attempt"]) == ("running", 1)
    assert written.starts()[(task_id, 1)] == 1


def _unheld(task: dict[str, Any]) -> dict[str, Any] | None:
    return task if not task.get("held") else None


@pytest.mark.parametrize("cut", ["cut", pytest.param("cut_to_hub", marks=pytest.mark.soak), "cut_from_hub"])
def test_a_cut_longer_than_the_lease_moves_the_task(running: Spread, written: Ledger, cut: str) -> None:
    task_id, host = started_on(running, written)
    getattr(running.network, cut)(host)
    check_moved(running, written, task_id, host)
    running.network.heal()
    running.wait_for_workers(len(WORKERS))
    task = running.task(task_id)
    assert (task["status"], task["attempt"]) == ("running", 2)
    until("nothing of the first attempt is left", lambda: len(running.containers()) == 1)


def test_lost_packets_lose_no_task(running: Spread, written: Ledger) -> None:
    for host in WORKERS:
        running.network.lose(host, 0.3)
    spec = pulsing(written, "brief", 0.5, maxLosses=100)
    submitted = [str(running.client.submit(spec)["taskId"]) for _ in range(6)]
    for task_id in submitted:
        ended = until("it ends", lambda task_id=task_id: _ended(running.task(task_id)))
        assert ended["status"] == "completed", running.attempts(task_id)
        found = spans(written, task_id)
        assert overlaps(found) == [], found
        assert all(count == 1 for key, count in written.starts().items() if key[0] == task_id)


def _ended(task: dict[str, Any]) -> dict[str, Any] | None:
    return task if task["status"] in ("completed", "failed", "cancelled") else None
