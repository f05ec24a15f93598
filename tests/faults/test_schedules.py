"""Schedules that fire every second while the leader is killed again and again."""

import time
from collections.abc import Iterator
from functools import partial

import pytest

from podling.client import Client
from podling.core.errors import Conflict
from tests.e2e.programs import until
from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.programs import Cluster, a_cluster, report

MASTERS = ("master-1", "master-2")
SCHEDULES, SECONDS, KILLED_EVERY = 1000, 300, 30
FIRED = "SELECT coalesce(max(fire_time), 'epoch')::text AS newest FROM schedule_fires"
GAPS = """
    SELECT count(*) AS count FROM (
        SELECT fire_time - lag(fire_time) OVER (PARTITION BY schedule_id ORDER BY fire_time) AS step
        FROM schedule_fires
    ) AS steps WHERE step <> interval '1 second'
"""
COUNTS = """
    SELECT count(*) AS fires, count(DISTINCT f.task_id) AS tasks, count(s.task_id) AS stored,
           count(*) FILTER (WHERE f.outcome <> 'started') AS others, count(DISTINCT schedule_id) AS schedules,
           extract(epoch FROM max(fire_time) - min(fire_time))::bigint AS seconds
    FROM schedule_fires f LEFT JOIN task_specs s USING (task_id)
"""
SUBMITTED = "SELECT count(*) AS count FROM task_specs"

pytestmark = [pytest.mark.soak, pytest.mark.xdist_group("faults-schedules"), pytest.mark.timeout(900)]


@pytest.fixture
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


@pytest.fixture
def running(postgres: OwnPostgres) -> Iterator[Cluster]:
    with a_cluster() as started:
        for name in MASTERS:
            started.start_master(name, environment={"DATABASE_URL": postgres.dsn})
        yield started


def test_a_thousand_schedules_over_killed_leaders_miss_and_double_nothing(
    running: Cluster, postgres: OwnPostgres
) -> None:
    client, kills = running.client(*MASTERS), 0
    for number in range(SCHEDULES):
        until(f"schedule {number} is made", partial(_is_made, client, f"every-{number}"))
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up:
        _wait(min(KILLED_EVERY, give_up - time.monotonic()))
        killed = until("somebody leads", lambda: running.leader(*MASTERS))
        running.kill(killed)
        seen = postgres.query(FIRED)[0]["newest"]
        until("the other one fires", lambda seen=seen: postgres.query(FIRED)[0]["newest"] > seen)
        running.start_master(killed, environment={"DATABASE_URL": postgres.dsn})
        kills += 1
    for name in MASTERS:
        running.kill(name)
    counts = postgres.query(COUNTS)[0]
    report(f"{counts['fires']} fires of {SCHEDULES} schedules over {kills} killed leaders: {dict(counts)}")
    assert postgres.query(GAPS)[0]["count"] == 0, "a time was missed"
    assert counts["schedules"] == SCHEDULES and counts["seconds"] >= SECONDS - 5
    assert counts["others"] == 0
    assert counts["fires"] == counts["tasks"] == counts["stored"] == postgres.query(SUBMITTED)[0]["count"]


def _is_made(client: Client, name: str) -> bool:
    """Make it, also where a busy machine lets the answer come too late: then it is asked for again."""
    try:
        client.create_schedule(
            name, cron="* * * * * *", catchUp="all", maxCatchUp=1000, task={"image": "box"}
        )
    except Conflict:
        return True
    return True


def _wait(seconds: float) -> None:
    """Let the time between two kills pass: that is what this test is about."""
    time.sleep(max(seconds, 0))
