"""Two masters behind a transaction pooler with fewer sessions than they want, and a worker."""

from collections.abc import Iterator

import pytest

from podling.client import tasks
from tests.e2e.programs import until
from tests.faults.load import load
from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each, ended
from tests.poolers import pooler
from tests.support import IN_SOAK

MASTERS = ("master-1", "master-2")
TASKS = 1000 if IN_SOAK else 60

pytestmark = [pytest.mark.xdist_group("faults-pooler"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with own_postgres() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: OwnPostgres) -> Iterator[Cluster]:
    with a_cluster(lease_seconds=8.0) as started:
        started.directory.chmod(0o755)
        folder = started.directory / "pooler"
        folder.mkdir()
        with pooler(server.dsn, folder) as pooled:
            environment = {"DATABASE_URL": pooled, "DATABASE_DIRECT_URL": server.dsn}
            for name in MASTERS:
                started.start_master(name, environment=environment)
            started.start_worker("worker-1")
            started.wait_for_workers(1)
            yield started
            started.stop()


def test_tasks_live_and_end_through_the_pooler(running: Cluster) -> None:
    ledger = Ledger(running.directory / "ledger")
    with load(running, ledger, *MASTERS) as submitted:
        until("tasks come in", lambda: len(submitted.accepted) >= TASKS)
    assert not submitted.surprises
    assert not submitted.refusals
    check_once_each(running.client(*MASTERS), ledger, submitted.task_ids, "through the pooler")


@pytest.mark.soak
def test_another_master_leads_through_the_pooler(running: Cluster) -> None:
    ledger = Ledger(running.directory / "ledger")
    leader = until("one leads", lambda: running.leader(*MASTERS))
    other = next(name for name in MASTERS if name != leader)
    client = running.client(other)
    long = str(client.submit(ledger.spec("long", 60, stopGraceSeconds=0))["taskId"])
    until("it runs", lambda: ledger.count("start", long))
    running.kill(leader)
    until("the other leads", lambda: running.leader(other) == other)
    task_id = str(client.submit(ledger.spec("after"))["taskId"])
    check_once_each(client, ledger, [task_id], "another leads")
    client.send(tasks.cancel(long))
    assert ended(client, long)["status"] == "cancelled"
    assert ledger.count("start", long) == 1
