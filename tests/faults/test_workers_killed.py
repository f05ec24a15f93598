"""kill -9 of a worker exactly before and after create, start, exit and report.

Proxies lie between the worker and its two neighbours, the engine and the master. Each holds the one
message of the step, so that the worker dies while it waits there; then it is started again.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import engine
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import IMAGE, Programs, programs, until
from tests.faults.figures import remove_containers
from tests.faults.proxy import Hold, Proxy, proxy
from tests.relay import Way
from tests.support import IN_SOAK

__all__ = ["engine"]

LEASE_SECONDS = 20.0  # a restart takes a second or two; nobody shall be declared lost here
WORKER = "worker-1"
ENGINE = Path("/var/run/docker.sock")
DELIVERIES = ("at_least_once", "at_most_once")

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("faults-workers")]


@dataclass(frozen=True)
class Step:
    """A message on one of the two lines; `passes` says whether it still gets through."""

    name: str
    line: str
    way: Way
    pattern: bytes
    passes: bool

    def __str__(self) -> str:
        return self.name


STEPS = (
    Step("before create", "engine", Way.UP, rb"^POST \S+/containers/create", False),
    Step("while it is created", "engine", Way.UP, rb"^POST \S+/containers/create", True),
    Step("after create", "engine", Way.DOWN, rb"^HTTP/1.1 201 ", False),
    Step("before start", "engine", Way.UP, rb"^POST \S+/start", False),
    Step("while it is started", "engine", Way.UP, rb"^POST \S+/start", True),
    Step("after start", "engine", Way.DOWN, rb'"Action":"start"', False),
    Step("before its start is told", "master", Way.UP, rb'^reports\n.*"running"', False),
    Step("after exit", "engine", Way.DOWN, rb'"Action":"die"', False),
    Step("before report", "master", Way.UP, rb'^reports\n.*"ended"', False),
    Step("while it is reported", "master", Way.UP, rb'^reports\n.*"ended"', True),
    Step("after report", "master", Way.DOWN, rb"^reportsAcknowledged\n", False),
    Step("before removal", "engine", Way.UP, rb"^DELETE \S+/containers/", False),
    Step("after removal", "engine", Way.DOWN, rb'"Action":"destroy"', False),
)
SHORT = ("while it is created", "after create", "while it is started", "after exit", "before report")
IN_DOUBT = ("before start", "at_most_once")
CASES = [
    pytest.param(step, delivery, id=f"{step}, {delivery}")
    for step in STEPS
    for delivery in DELIVERIES
    if (IN_SOAK or (step.name in SHORT and delivery == DELIVERIES[0])) and (step.name, delivery) != IN_DOUBT
]


class Between:
    """The programs, with a proxy on each of the worker's lines."""

    def __init__(self, running: Programs, lines: dict[str, Proxy]) -> None:
        self.running = running
        self.lines = lines
        self.numbers = count()

    def hold(self, step: Step) -> Hold:
        return self.lines[step.line].hold(step.way, step.pattern)


@pytest.fixture(scope="module")
def between(engine: None) -> Iterator[Between]:
    with ExitStack() as stack:
        running = stack.enter_context(programs("memory", LEASE_SECONDS))
        socket = running.directory / "docker.sock"
        lines = {
            "engine": stack.enter_context(proxy(ENGINE, path=socket)),
            "master": stack.enter_context(proxy(running.port)),
        }
        stack.callback(running.stop)
        running.master_url = lines["master"].url
        running.start_master("--advertise-url", running.master_url)
        running.start_worker(WORKER, "--docker-host", f"unix://{socket}", "--shutdown-timeout", "5")
        running.wait_for_workers(1)
        yield Between(running, lines)


@pytest.fixture(scope="module")
def written(between: Between) -> Iterator[Ledger]:
    with ledger(between.running.engine) as made:
        yield made
        remove_containers(between.running)


def killed_there(between: Between, written: Ledger, step: Step, delivery: str) -> dict[str, Any]:
    """Submit a task, kill its worker at that step, start it again, and return the task when it has ended."""
    running = between.running
    hold = between.hold(step)
    name = f"killed-{next(between.numbers)}"
    spec = written.spec(name, IMAGE, 0.3, network="none", delivery=delivery, maxLosses=0)
    task_id = str(running.client.submit(spec)["taskId"])
    hold.wait()
    if step.passes:
        hold.release()
    running.kill(WORKER)
    hold.drop()
    running.start_worker(WORKER)
    return until(f"{task_id} ends", lambda: _ended(running.task(task_id)))


@pytest.mark.parametrize(("step", "delivery"), CASES)
def test_a_worker_killed_there_runs_it_once(
    between: Between, written: Ledger, step: Step, delivery: str
) -> None:
    running = between.running
    task = killed_there(between, written, step, delivery)
    task_id = task["taskId"]
    assert (task["status"], task["attempt"]) == ("completed", 1), running.attempts(task_id)
    assert task["exitCode"] == 0
    assert written.starts()[(task_id, 1)] == 1
    assert written.ends()[(task_id, 1)] == 1
    until("no container is left", lambda: not running.containers())
    assert running.attempts(task_id)[0]["status"] == "completed"


@pytest.mark.soak
def test_a_start_in_doubt_is_not_repeated_at_most_once(between: Between, written: Ledger) -> None:
    """The engine says that it never started; one that was killed with the worker may have forgotten it."""
    name, delivery = IN_DOUBT
    (step,) = (step for step in STEPS if step.name == name)
    task = killed_there(between, written, step, delivery)
    assert (task["status"], task["attempt"], task["errorCode"]) == ("failed", 1, "UNKNOWN_EXIT")
    assert "may have happened" in task["error"]
    assert written.starts()[(task["taskId"], 1)] == 0
    until("no container is left", lambda: not between.running.containers())


def _ended(task: dict[str, Any]) -> dict[str, Any] | None:
    return task if task["status"] in ("completed", "failed", "cancelled") else None
