"""A session that holds a transaction open for long, while many tasks come and go."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from podling.client import cluster, tasks
from tests.e2e.programs import until
from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.programs import Cluster, a_cluster, report
from tests.support import IN_SOAK

HELD_SECONDS = 600.0 if IN_SOAK else 3.0
MOST_SLOWER = 2.0
BATCH = 200
SPEC = {"name": "nothing", "runtime": "simulated", "image": "none"}

pytestmark = [pytest.mark.soak, pytest.mark.xdist_group("faults-idle"), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with own_postgres(shared_buffers="128MB") as started:
        yield started


@pytest.fixture(scope="module")
def running(server: OwnPostgres) -> Iterator[Cluster]:
    with a_cluster(lease_seconds=12.0) as started:
        started.start_master("master-1", "--allow-simulated", environment={"DATABASE_URL": server.dsn})
        started.start_worker("worker-1", "--runtime", "simulated")
        started.wait_for_workers(1)
        yield started


@contextmanager
def _idle_transaction(server: OwnPostgres) -> Iterator[None]:
    """Begin a transaction that keeps every row version from being removed, and leave it."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(server.dsn, timeout=20))
        begin = "SET application_name = 'forgotten'; BEGIN ISOLATION LEVEL REPEATABLE READ"
        runner.run(connection.execute(begin))
        runner.run(connection.execute("SELECT txid_current()"))
        try:
            yield
        finally:
            runner.run(connection.close(timeout=20))


def _lives_a_second(running: Cluster, seconds: float) -> float:
    """Let tasks be submitted and end for so long; return how many did so in a second."""
    client = running.client("master-1")
    began, lived = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        client.send(tasks.submit_batch([SPEC] * BATCH))
        until("all have ended", lambda: not _unended(running))
        lived += BATCH
    return lived / passed


def _unended(running: Cluster) -> int:
    counts = running.client("master-1").send(cluster.read())["tasks"]
    return sum(counts.get(status, 0) for status in ("pending", "scheduled", "running"))


def test_an_idle_transaction_slows_claims_down_by_half_at_most(running: Cluster, server: OwnPostgres) -> None:
    before = _lives_a_second(running, HELD_SECONDS / 10)
    with _idle_transaction(server):
        _lives_a_second(running, HELD_SECONDS * 0.9)
        at_last = _lives_a_second(running, HELD_SECONDS / 10)
    report(f"{before:.0f} lives a second before, {at_last:.0f} after {HELD_SECONDS:g} s of it")
    assert at_last > 0
    if IN_SOAK:
        assert before / at_last <= MOST_SLOWER
        assert running.moments("master-1", "a transaction of forgotten")
