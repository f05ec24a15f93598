"""A container that is killed at any moment goes on from its last acknowledged checkpoint (I31)."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from podling.client import Client, tasks
from tests.e2e.programs import IMAGE, Programs, programs, until
from tests.e2e.test_inside import SCRIPT
from tests.support import IN_SOAK

KILLS = 200 if IN_SOAK else 20
JOBS = 4  # side by side
LONGEST_SECONDS = 0.6  # after its container runs, until it is killed

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-resumes"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=["memory", "postgres"] if IN_SOAK else ["postgres"])
def running(request: pytest.FixtureRequest, engine: None) -> Iterator[Programs]:
    started: Programs
    with programs(request.param, lease_seconds=60) as started:
        started.start_master()
        started.start_worker("worker")
        started.wait_for_workers(1)
        yield started


class Job:
    """One task that is killed again and again, and what it said."""

    def __init__(self, running: Programs, number: int) -> None:
        self._running = running
        self._client = Client(running.master_url)  # of this thread
        self._draw = Random(f"resumes {number}")
        spec = {
            "name": "long",
            "image": IMAGE,
            "command": ["sh", "-c", SCRIPT.replace("long-job", f"job-{number}")],
            "env": {"ROWS": "100000", "ROW_SECONDS": "0.02"},
            "maxAttempts": 1000,
            "maxLosses": 1000,  # to kill it by the engine is somebody's hand, and no failure of its own
            "retry": {"baseSeconds": 0.01, "factor": 1},
        }
        self.task_id = str(self._client.submit(spec)["taskId"])

    def kill(self) -> None:
        """Kill the container of the live attempt with SIGKILL, at some moment of its life."""
        container = self.running_container()
        threading.Event().wait(self._draw.uniform(0, LONGEST_SECONDS))
        container.kill("SIGKILL")
        container.wait()

    def running_container(self) -> Any:
        """Return it as soon as there is one; if there is none, say what Podling says of the task."""
        try:
            return until("a container runs", self._container)
        except AssertionError as late:
            told = self._client.send(tasks.explain(self.task_id))
            raise AssertionError(f"{late}; {told}") from None

    def _container(self) -> Any:
        label = f"podling.io/task={self.task_id}"
        found = self._running.engine.containers.list(filters={"label": label}, ignore_removed=True)
        return found[0] if found else None

    def finish(self) -> None:
        self._client.send(tasks.cancel(self.task_id))
        self._client.wait(self.task_id, timeout_seconds=60)

    def check(self) -> int:
        """Return how many attempts went on from what the one before them had saved last."""
        attempts = self._client.send(tasks.attempts(self.task_id, limit=500)).items
        begun, printed, went_on = {}, {0: 0}, 0
        for number in range(1, len(attempts) + 1):
            text = self._client.send(tasks.logs(self.task_id, attempt=number))
            first = re.search(r"begins after row (\d+)", text)
            saved = [int(row) for row in re.findall(r"saved row (\d+)", text)]
            before = max(printed.values())
            printed[number] = max(saved, default=before)
            if first is None:
                continue  # killed before it could ask
            begun[number] = int(first[1])
            # What was kept may be one more than it heard of: it was killed before the answer.
            assert before <= begun[number] <= before + 1, (number, begun, printed)
            printed[number] = max(printed[number], begun[number])
            went_on += number > 1
        return went_on


def test_each_attempt_goes_on_from_the_last_checkpoint(running: Programs) -> None:
    def kill_often(number: int) -> int:
        job = Job(running, number)
        for _ in range(KILLS // JOBS):
            job.kill()
        job.running_container()  # it goes on after the last
        job.finish()
        newest = next(iter(job._client.checkpoints.of(job.task_id, limit=1)), None)
        went_on = job.check()
        assert newest is None or newest["progress"] is not None
        return went_on

    with ThreadPoolExecutor(JOBS) as pool:
        went_on = sum(pool.map(kill_often, range(JOBS)))
    assert went_on >= KILLS // 2, "most were killed late enough to have asked"
