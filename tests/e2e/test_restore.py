"""A backup made under load, the database destroyed, restored; the worker runs on all the while."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from podling.core.errors import NotFound
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import IMAGE, Programs, programs, until

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-losses")]

COMMAND_SECONDS = 60
LEASE_SECONDS = 120.0  # what runs outlives a restore only within the lease of its worker


@pytest.fixture
def running(engine: None) -> Iterator[Programs]:
    with programs(lease_seconds=LEASE_SECONDS) as started:
        started.start_master()
        started.start_worker("worker-1", "--capacity", "6")
        started.wait_for_workers(1)
        yield started


@pytest.fixture
def written(running: Programs) -> Iterator[Ledger]:
    with ledger(running.engine) as made:
        yield made


class Load:
    """Submits short tasks one after the other, and keeps the ids that were answered."""

    def __init__(self, running: Programs, written: Ledger) -> None:
        self.task_ids: list[str] = []
        self._running, self._written = running, written
        self._over = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator["Load"]:
        thread = threading.Thread(target=self._submit)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(COMMAND_SECONDS)

    def _submit(self) -> None:
        while not self._over.wait(0.05):
            task = self._running.client.submit(self._written.spec("short", IMAGE, 0.1))
            self.task_ids.append(str(task["taskId"]))


def until_told(written: Ledger, name: str) -> dict[str, Any]:
    """Return a task that ends when it is told to."""
    spec = written.spec(name, IMAGE, 0)
    wait = f"while [ ! -e /ledger/{name} ]; do sleep 0.1; done"
    return spec | {"command": ["sh", "-c", spec["command"][-1].replace("sleep 0", wait)]}


def tell(written: Ledger, name: str) -> None:
    (written.path.parent / name).touch()


def database_command(running: Programs, *words: str) -> str:
    code = "from podling.boot.cli import main; raise SystemExit(main())"
    url = f"embedded:{running.directory / 'postgres'}"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--database-url", url],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def destroy_database(running: Programs) -> None:
    """Kill the master and its server, and remove every file of the database."""
    running.kill("master")
    postmaster = int((running.directory / "postgres/data/postmaster.pid").read_text().split()[0])
    descriptor = os.pidfd_open(postmaster)
    os.kill(postmaster, signal.SIGKILL)
    until("the server is gone", lambda: not os.path.exists(f"/proc/{postmaster}"))
    os.close(descriptor)
    shutil.rmtree(running.directory / "postgres")


def test_all_tasks_are_there_again(running: Programs, written: Ledger) -> None:
    long = str(running.client.submit(until_told(written, "long"))["taskId"])
    ends_since = str(
        running.client.submit(until_told(written, "once") | {"delivery": "at_most_once"})["taskId"]
    )
    until("both run", lambda: all(running.task(one)["status"] == "running" for one in (long, ends_since)))
    before = running.task(long)
    file = running.directory / "podling.backup"
    with Load(running, written).going_on() as load:
        until("tasks come in", lambda: len(load.task_ids) > 10)
        known = list(load.task_ids)
        assert "tasks that have not ended" in database_command(running, "backup", str(file))
        count = len(load.task_ids)
        until("more tasks come in", lambda: len(load.task_ids) > count + 5)
    tell(written, "once")
    until("the one has ended since", lambda: running.task(ends_since)["status"] == "completed")

    destroy_database(running)
    database_command(running, "restore", str(file))
    running.start_master()

    running.wait_for_workers(1)
    for task_id in known:
        until(f"{task_id} has ended", lambda task_id=task_id: running.task(task_id)["status"] == "completed")
    with pytest.raises(NotFound):
        running.task(load.task_ids[-1])
    once = until("the end of what ran once is known", lambda: _ended(running, ends_since))
    assert (once["status"], once["errorCode"], once["attempt"]) == ("failed", "UNKNOWN_EXIT", 1)
    assert written.starts()[(ends_since, 1)] == 1
    tell(written, "long")
    after = until("the long one has ended", lambda: _ended(running, long))
    assert (after["status"], after["attempt"]) == ("completed", 1)
    assert after["containerId"] == before["containerId"]
    assert written.starts()[(long, 1)] == 1
    until("no container is left", lambda: not running.containers())


def _ended(running: Programs, task_id: str) -> dict[str, Any] | None:
    task = running.task(task_id)
    return task if task["status"] in ("completed", "failed", "cancelled") else None
