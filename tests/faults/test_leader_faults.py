"""PostgreSQL frozen, the leader cut off from it, the leader frozen: one leader at most, and work goes on."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from podling.client import tasks
from tests.e2e.programs import until
from tests.faults.load import load
from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.programs import (
    LEADS,
    LEADS_NO_MORE,
    Cluster,
    Ledger,
    a_cluster,
    check_once_each,
    ended,
)
from tests.faults.proxy import Proxy, proxy
from tests.support import IN_SOAK

LEASE_SECONDS = 12.0 if IN_SOAK else 3.0
LEASES = 3 if IN_SOAK else 2
MASTERS = ("master-1", "master-2")
WAITING = """
SELECT locks.pid, activity.client_port FROM pg_locks locks JOIN pg_stat_activity activity USING (pid)
WHERE NOT granted AND relation = 'changes'::regclass
"""

LOOKS = 30

pytestmark = [pytest.mark.xdist_group("faults-leader"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with own_postgres() as started:
        yield started


@pytest.fixture(scope="module")
def lines(server: OwnPostgres) -> Iterator[dict[str, Proxy]]:
    """Each master's own way to the server."""
    with proxy(server.port) as first, proxy(server.port) as second:
        yield dict(zip(MASTERS, (first, second), strict=True))


@pytest.fixture(scope="module")
def running(server: OwnPostgres, lines: dict[str, Proxy]) -> Iterator[Cluster]:
    with a_cluster(LEASE_SECONDS) as started:
        for name in MASTERS:
            started.start_master(name, environment={"DATABASE_URL": server.dsn_at(lines[name].port)})
        started.start_worker("worker-1")
        started.wait_for_workers(1)
        yield started


@pytest.fixture(scope="module")
def ledger(running: Cluster) -> Ledger:
    return Ledger(running.directory / "ledger")


def _leader(running: Cluster) -> str:
    return until("one leads", lambda: running.leader(*MASTERS))


def _other(name: str) -> str:
    return next(other for other in MASTERS if other != name)


def _check_reigns(running: Cluster) -> None:
    """No reign began before the one before it had ended, by what the masters themselves logged."""
    turns = [(at, name, +1) for name in MASTERS for at in running.moments(name, LEADS)]
    turns += [(at, name, -1) for name in MASTERS for at in running.moments(name, LEADS_NO_MORE)]
    for before, after in pairwise(sorted(turns)):
        assert (before[2], after[2]) in ((1, -1), (-1, 1)), sorted(turns)


def test_a_leader_cut_off_from_postgres_alone_steps_down_and_another_leads(
    running: Cluster, lines: dict[str, Proxy], ledger: Ledger
) -> None:
    leader = _leader(running)
    other = _other(leader)
    ended_before, led_before = (
        len(running.moments(leader, LEADS_NO_MORE)),
        len(running.moments(other, LEADS)),
    )
    lines[leader].silence()
    try:
        until("the other leads", lambda: len(running.moments(other, LEADS)) > led_before)
        assert len(running.moments(leader, LEADS_NO_MORE)) == ended_before + 1
        assert running.moments(leader, LEADS_NO_MORE)[-1] < running.moments(other, LEADS)[-1]
        client = running.client(other)
        task_id = str(client.submit(ledger.spec("through the other"))["taskId"])
        check_once_each(client, ledger, [task_id], "the leader was cut off")
        status, headers, _ = running.status_of(leader, "/api/v1/tasks", ledger.spec("refused"))
        assert (status, headers["Retry-After"]) == (503, "1")
    finally:
        lines[leader].heal()
    task_id = until("the one that was cut off serves again", lambda: _submit(running, leader, ledger))
    check_once_each(running.client(leader), ledger, [task_id], "the line was healed")


def _submit(running: Cluster, master: str, ledger: Ledger) -> str | None:
    status, _, answer = running.status_of(master, "/api/v1/tasks", ledger.spec("job"))
    return str(answer["taskId"]) if status == 201 else None


def test_postgres_frozen_for_longer_than_a_lease_doubles_no_leader(
    running: Cluster, server: OwnPostgres, ledger: Ledger
) -> None:
    leader = _leader(running)
    client = running.client(*MASTERS)
    bound, free = (
        str(client.submit(ledger.spec(name, 60, stopGraceSeconds=0, **more))["taskId"])
        for name, more in (("bound", {}), ("free", {"onDisconnect": "keep", "onLost": "hold"}))
    )
    for task_id in (bound, free):
        until("both run", lambda: ledger.count("start", task_id, 1))  # noqa: B023
    ended_before = len(running.moments(leader, LEADS_NO_MORE))
    server.freeze()
    frozen_at = time.monotonic()
    try:
        until("the leader steps down", lambda: len(running.moments(leader, LEADS_NO_MORE)) > ended_before)
        assert time.monotonic() - frozen_at < LEASE_SECONDS + 1
        until("the worker stops what must not outlive its lease", lambda: not _runs(bound))
        assert time.monotonic() - frozen_at < LEASE_SECONDS + 1
        until("several leases have passed", lambda: time.monotonic() - frozen_at > LEASES * LEASE_SECONDS)
        assert _runs(free)
    finally:
        server.thaw()
    task_id = str(until("a task is accepted", lambda: _submit(running, leader, ledger)))
    check_once_each(client, ledger, [task_id], "after the thaw")
    until("what was stopped runs again", lambda: ledger.count("start", bound, 2))
    assert ledger.count("start", bound, 1) == ledger.count("start", free, 1) == 1
    until("the other is still the same attempt", lambda: _status(running, free) == ("running", 1))
    for task_id in (bound, free):
        client.send(tasks.cancel(task_id))
        assert ended(client, task_id)["status"] == "cancelled"
    _check_reigns(running)


def _runs(task_id: str) -> bool:
    """Whether a process of the task is alive, by the environment that it was given."""
    wanted = f"PODLING_TASK_ID={task_id}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environment:
                if wanted in environment.read().split(b"\0"):
                    return True
        except OSError:
            continue  # it has ended meanwhile
    return False


def _status(running: Cluster, task_id: str) -> tuple[str, int]:
    task: Any = running.client(*MASTERS).send(tasks.read(task_id))
    return task["status"], task["attempt"]


def test_a_leader_stopped_in_the_middle_of_a_commit_changes_nothing_later(
    running: Cluster, server: OwnPostgres, ledger: Ledger
) -> None:
    leader = _leader(running)
    other = _other(leader)
    late = len(running.moments(leader, LEADS_NO_MORE))
    with load(running, ledger, other) as submitted:
        until("tasks come in", lambda: len(submitted.accepted) > 5)
        asyncio.run(_freeze_in_a_commit(running, server, leader))
        try:
            until("the other leads", lambda: running.leader(other) == other)
            count = len(submitted.accepted)
            until("tasks come in", lambda: len(submitted.accepted) > count + 5)
            [epoch] = server.query("SELECT epoch, holder FROM leadership")
        finally:
            running.signal(leader, signal.SIGCONT)
        until("it knows", lambda: len(running.moments(leader, LEADS_NO_MORE)) > late)
    assert server.query("SELECT epoch, holder FROM leadership") == [epoch]
    assert running.leader(*MASTERS) == other
    check_once_each(running.client(*MASTERS), ledger, submitted.task_ids, "the leader was stopped")


async def _freeze_in_a_commit(running: Cluster, server: OwnPostgres, leader: str) -> None:
    """Stop the program while its commit waits; the commit's session then finds nobody."""
    connection = await asyncpg.connect(server.dsn, timeout=20)
    try:
        async with asyncio.timeout(60):
            while not await _caught(connection, running, leader):
                await connection.execute("SELECT pg_sleep(0.05)")  # they go on
    finally:
        await connection.close(timeout=20)


async def _caught(connection: asyncpg.Connection, running: Cluster, leader: str) -> bool:
    """Hold all commits up; stop the leader if it has one, which it need not have at that moment."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE changes IN SHARE MODE")
        for _ in range(LOOKS):
            if len(await connection.fetch(WAITING)) == len(MASTERS):
                running.signal(leader, signal.SIGSTOP)
                return True
            await connection.execute("SELECT pg_sleep(0.01)")
    return False
