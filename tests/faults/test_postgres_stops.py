"""PostgreSQL goes away under load, in every way, and comes back."""

import asyncio
import time
from collections.abc import Iterator

import asyncpg
import pytest

from tests.e2e.programs import until
from tests.faults.load import Load, load
from tests.faults.own_postgres import STOPS, OwnPostgres, own_postgres
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each, report
from tests.support import IN_SOAK

FIRST_COMMIT_SECONDS = 3.0
LISTENING_SECONDS = 8.0
REFUSALS = 100 if IN_SOAK else 4
ROUNDS = 10 if IN_SOAK else 1
MASTERS = ("master-1", "master-2")
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'"
WAITING = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'changes'::regclass LIMIT 1"
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY ($1::int[])"

pytestmark = [pytest.mark.xdist_group("faults-stops"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with own_postgres() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: OwnPostgres) -> Iterator[Cluster]:
    with a_cluster(lease_seconds=4.0) as started:
        for name in MASTERS:
            started.start_master(name, environment={"DATABASE_URL": server.dsn})
        started.start_worker("worker-1")
        started.wait_for_workers(1)
        yield started


@pytest.fixture(scope="module")
def ledger(running: Cluster) -> Ledger:
    return Ledger(running.directory / "ledger")


def _listeners(server: OwnPostgres) -> set[int]:
    return {row["pid"] for row in server.query(LISTENERS)}


def _accepted(submitted: Load, count: int) -> bool:
    return len(submitted.accepted) >= count


@pytest.mark.parametrize("how", [how for how in STOPS for _ in range(ROUNDS)])
def test_nothing_is_lost_while_postgres_is_away(
    running: Cluster, server: OwnPostgres, ledger: Ledger, how: str
) -> None:
    with load(running, ledger, *MASTERS) as submitted:
        until("tasks come in", lambda: _accepted(submitted, 5))
        server.stop(how)
        until("requests are refused", lambda: len(submitted.refusals) >= REFUSALS)
        assert running.status_of("master-1", "/ready")[0] == 503
        assert running.status_of("master-1", "/health")[0] == 200
        server.launch()
        back = server.wait_until_ready()
        first = until("a task is accepted again", lambda: submitted.first_after(back))
        until("both masters listen again", lambda: len(_listeners(server)) == len(MASTERS))
        listening = time.monotonic() - back
        until("more tasks come in", lambda: submitted.first_after(back + 0.5))
    assert not submitted.surprises
    assert all("the database is not available" in sentence for sentence in submitted.refusals)
    check_once_each(running.client("master-1"), ledger, submitted.task_ids, how)
    report(f"after {how}: first commit in {first:.2f} s, both listen in {listening:.2f} s")
    if IN_SOAK:
        assert first < FIRST_COMMIT_SECONDS
        assert listening < LISTENING_SECONDS


def test_a_backend_killed_in_the_middle_of_a_commit_commits_once(
    running: Cluster, server: OwnPostgres, ledger: Ledger
) -> None:
    with load(running, ledger, *MASTERS) as submitted:
        for _ in range(ROUNDS + 1):
            count = len(submitted.accepted)
            asyncio.run(_kill_a_committing_backend(server.dsn))
            until("tasks come in again", lambda: _accepted(submitted, count + 3))  # noqa: B023
    assert not submitted.surprises
    check_once_each(running.client("master-1"), ledger, submitted.task_ids, "a backend was killed")


async def _kill_a_committing_backend(dsn: str) -> None:
    """Hold a commit up at its last statement, end its session there, and let the others go on."""
    connection = await asyncpg.connect(dsn, timeout=20)
    try:
        async with asyncio.timeout(20), connection.transaction():
            await connection.execute("LOCK TABLE changes IN SHARE MODE")
            while not (waiting := await connection.fetchval(WAITING)):
                await connection.execute("SELECT pg_sleep(0.01)")
            assert await connection.fetchval("SELECT pg_terminate_backend($1)", waiting)
    finally:
        await connection.close(timeout=20)


def test_masters_whose_listening_session_was_ended_listen_again(
    running: Cluster, server: OwnPostgres
) -> None:
    before = _listeners(server)
    began = time.monotonic()
    server.query(END, sorted(before))
    until("both listen by new sessions", lambda: len(_listeners(server) - before) == len(MASTERS))
    if IN_SOAK:
        assert time.monotonic() - began < LISTENING_SECONDS
