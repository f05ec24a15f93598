"""kill -9 at every step of a task's life, with real containers and a real Postgres.

A round submits tasks, waits for a step of the table in docs/tour.md, kills somebody there, starts
him again and lets everything end. The ledger that the containers wrote must match the store.
"""

import queue
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import pytest

from podling.client import tasks
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import IMAGE, Programs, programs, until
from tests.support import IN_SOAK

WORKERS = ("worker-1", "worker-2")
STEPS = ("submit", "plan", "create", "start", "die", "destroy")
VICTIMS = ("worker", "master", "postgres", "all")
TASKS = 6
ROUNDS = 50 if IN_SOAK else 10

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-e2e")]


@pytest.fixture(scope="module")
def running(engine: None) -> Iterator[Programs]:
    with programs() as started:
        started.start_master()
        for name in WORKERS:
            started.start_worker(name, "--capacity", "4", "--shutdown-timeout", "5")
        started.wait_for_workers(len(WORKERS))
        yield started


@pytest.fixture(scope="module")
def written(running: Programs) -> Iterator[Ledger]:
    with ledger(running.engine) as made:
        yield made


class Events:
    """What the engine does with this cluster's containers, as it happens."""

    def __init__(self, engine: docker.DockerClient, cluster_id: str) -> None:
        label = f"podling.io/cluster={cluster_id}"
        self._stream = engine.events(decode=True, filters={"label": label, "type": "container"})
        self._seen: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for event in self._stream:
            self._seen.put(event["Action"])

    def wait_for(self, action: str, count: int) -> None:
        while count:
            count -= self._seen.get(timeout=30) == action

    def close(self) -> None:
        self._stream.close()
        self._reader.join(10)


@contextmanager
def events(running: Programs) -> Iterator[Events]:
    seen = Events(running.engine, running.cluster_id)
    try:
        yield seen
    finally:
        seen.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nothing_is_lost_or_doubled(running: Programs, written: Ledger, seed: int) -> None:
    draw = random.Random(seed)
    step = STEPS[seed % len(STEPS)]
    victim = draw.choice(VICTIMS)
    with events(running) as seen:
        submitted = _submit_while_killing(running, written, seen, draw, step, victim)
    ended = [_wait_for_end(running, task_id) for task_id in submitted]
    told = f"seed {seed}: {victim} killed at {step}"
    assert [task["status"] for task in ended] == ["completed"] * TASKS, (told, ended)
    _check_ledger(running, written, submitted, told)
    until(f"no container is left ({told})", lambda: not running.containers())
    running.wait_for_workers(len(WORKERS))


def _submit_while_killing(
    running: Programs, written: Ledger, seen: Events, draw: random.Random, step: str, victim: str
) -> list[str]:
    """Submit all tasks, some of them perhaps into a dead master; return their ids."""
    early = draw.randrange(1, TASKS + 1) if step == "submit" else TASKS
    specs = [
        (written.spec(f"round-{index}", IMAGE, draw.uniform(0.1, 0.6)), f"{draw.random()}-{index}")
        for index in range(TASKS)
    ]
    for spec, key in specs[:early]:
        running.client.submit(spec, key)
    if step not in ("submit", "plan"):
        seen.wait_for(step, draw.randrange(1, 4))
    _kill_and_restart(running, draw, victim)
    # Every submit is sent again, with its key: what was accepted before must be the same task.
    return [_submit(running, spec, key) for spec, key in specs]


def _submit(running: Programs, spec: dict[str, Any], key: str) -> str:
    task = until("a submit is accepted", lambda: running.client.submit(spec, key))
    return str(task["taskId"])


def _kill_and_restart(running: Programs, draw: random.Random, victim: str) -> None:
    worker = draw.choice(WORKERS)
    chosen = {"worker": [worker], "master": ["master"], "postgres": [], "all": ["master", *WORKERS]}
    if victim in ("postgres", "all"):
        running.kill_postgres()
    for name in chosen[victim]:
        running.kill(name)
    for name in chosen[victim]:
        if name == "master":
            running.start_master()
        else:
            running.start_worker(name)


def _wait_for_end(running: Programs, task_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        task = running.task(task_id)
        return task if task["status"] in ("completed", "failed", "cancelled") else None

    return until(f"{task_id} ends", ended)


def _check_ledger(running: Programs, written: Ledger, submitted: list[str], told: str) -> None:
    assert len(set(submitted)) == TASKS, told
    starts, ends = written.starts(), written.ends()
    for task_id in submitted:
        attempts = {attempt["attempt"]: attempt for attempt in running.attempts(task_id)}
        mine = {number: count for (owner, number), count in starts.items() if owner == task_id}
        assert all(count == 1 for count in mine.values()), (told, task_id, mine)
        assert set(mine) <= set(attempts), (told, task_id, mine, attempts)
        last = max(attempts)
        assert attempts[last]["status"] == "completed", (told, attempts)
        assert ends[(task_id, last)] == 1, (told, task_id, last)


def test_every_task_of_all_rounds_is_in_the_store(running: Programs, written: Ledger) -> None:
    known = {task["taskId"] for task in running.client.send(tasks.listing(limit=500)).items}
    assert {task_id for task_id, _ in written.starts()} <= known
