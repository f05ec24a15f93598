"""A primary and its streaming standby behind one address with both hosts."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.programs import until
from tests.faults.load import load
from tests.faults.own_postgres import OwnPostgres, own_postgres, server_home
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each

MASTERS = ("master-1", "master-2")
STREAMING = "SELECT count(*) AS count FROM pg_stat_replication WHERE sync_state = 'sync'"

pytestmark = [pytest.mark.soak, pytest.mark.xdist_group("faults-failover"), pytest.mark.timeout(300)]


@dataclass
class Pair:
    """`dsn` names both hosts, the primary's first."""

    primary: OwnPostgres
    standby: OwnPostgres

    @property
    def dsn(self) -> str:
        login = f"postgres:{self.primary.password}"
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{login}@{hosts}/postgres?target_session_attrs=read-write"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with own_postgres() as primary, server_home() as home:
        standby = OwnPostgres(home)
        standby.clone(primary, "second")
        standby.start()
        try:
            primary.query("ALTER SYSTEM SET synchronous_standby_names = 'second'")
            primary.query("SELECT pg_reload_conf()")
            until("the standby is synchronous", lambda: primary.query(STREAMING)[0]["count"])
            yield Pair(primary, standby)
        finally:
            standby.stop("immediate")


@pytest.fixture
def running(pair: Pair) -> Iterator[Cluster]:
    with a_cluster(lease_seconds=4.0) as started:
        for name in MASTERS:
            started.start_master(name, environment={"DATABASE_URL": pair.dsn})
        started.start_worker("worker-1")
        started.wait_for_workers(1)
        yield started


def test_masters_follow_a_promoted_standby_and_lose_nothing(running: Cluster, pair: Pair) -> None:
    ledger = Ledger(running.directory / "ledger")
    with load(running, ledger, *MASTERS) as submitted:
        until("tasks come in", lambda: len(submitted.accepted) > 10)
        pair.primary.stop("kill")
        until("requests are refused", lambda: submitted.refusals)
        pair.standby.promote()
        count = len(submitted.accepted)
        until("tasks come in again", lambda: len(submitted.accepted) > count + 10)
    assert not submitted.surprises
    check_once_each(running.client("master-1"), ledger, submitted.task_ids, "the standby was promoted")
