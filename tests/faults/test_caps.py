"""Caps and rates of queues while the leader is killed with -9 under load, by the attempts' own times."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from podling.client import Client, queues, tasks
from tests.e2e.programs import until
from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each, report
from tests.overlap import interval_of, largest_overlap
from tests.support import IN_SOAK

MASTERS = ("master-1", "master-2")
KILLS = 8 if IN_SOAK else 1
TASKS = 60 * KILLS
CAP, ALL, RATE = 4, 7, 25 * KILLS

pytestmark = [pytest.mark.xdist_group("faults-caps"), pytest.mark.timeout(600)]


@pytest.fixture
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


@pytest.fixture
def running(postgres: OwnPostgres) -> Iterator[Cluster]:
    with a_cluster() as started:
        for name in MASTERS:
            started.start_master(name, environment={"DATABASE_URL": postgres.dsn})
        started.start_worker("worker-1")
        started.wait_for_workers(1)
        yield started


def test_no_cap_or_rate_is_exceeded_by_leaders_that_are_killed(
    running: Cluster, postgres: OwnPostgres
) -> None:
    client, ledger = running.client(*MASTERS), Ledger(running.directory / "ledger")
    client.send(queues.save("capped", {"maxInFlight": CAP}))
    client.send(queues.save("rated", {"maxPerMinute": RATE}))
    client.send(queues.save("*", {"maxInFlight": ALL}))
    capped = _submit(client, ledger, "capped", TASKS)
    rated = _submit(client, ledger, "rated", RATE + 1)
    for kill in range(KILLS):
        until("tasks end", lambda kill=kill: _ended(client) > (kill + 0.3) * TASKS / KILLS)
        killed = until("somebody leads", lambda: running.leader(*MASTERS))
        running.kill(killed)
        running.start_master(killed, environment={"DATABASE_URL": postgres.dsn})
    check_once_each(client, ledger, capped, "leaders were killed")
    in_queue = [found for task_id in capped for found in _intervals(client, task_id)]
    in_all = in_queue + [found for task_id in rated for found in _intervals(client, task_id)]
    overlaps = largest_overlap(in_queue), largest_overlap(in_all)
    most = _most_in_a_minute(client, rated)
    report(f"{KILLS} killed leaders: overlaps {overlaps} of {(CAP, ALL)}, {most} of {RATE} in a minute")
    assert 1 < overlaps[0] <= CAP and overlaps[0] < overlaps[1] <= ALL
    assert 1 < most <= RATE


def _submit(client: Client, ledger: Ledger, queue: str, count: int) -> list[str]:
    specs = [ledger.spec(f"{queue}-{number}", 0.2, queue=queue) for number in range(count)]
    return [str(item["taskId"]) for item in client.send(tasks.submit_batch(specs))]


def _ended(client: Client) -> int:
    return len(client.send(tasks.listing(queue="capped", statuses=["completed"])).items)


def _intervals(client: Client, task_id: str) -> list[tuple[datetime, datetime]]:
    found = (interval_of(row) for row in client.send(tasks.attempts(task_id)).items)
    return [interval for interval in found if interval is not None]


def _most_in_a_minute(client: Client, task_ids: list[str]) -> int:
    """Return how many attempts were given to nodes within any 60 seconds, at most."""
    rows = [row for task_id in task_ids for row in client.send(tasks.attempts(task_id)).items]
    times = [datetime.fromisoformat(row["scheduledAt"]) for row in rows]
    minute = timedelta(seconds=60)
    return max(sum(first <= at < first + minute for at in times) for first in times)
