"""Two masters on one embedded PostgreSQL, whose server is killed, and with it the master that started it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import until
from tests.faults.load import Load, load
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each, report

MASTERS = ("master-1", "master-2")

pytestmark = [pytest.mark.soak, pytest.mark.xdist_group("faults-embedded"), pytest.mark.timeout(300)]


@pytest.fixture
def running() -> Iterator[Cluster]:
    with a_cluster(lease_seconds=4.0) as started:
        started.directory.chmod(0o755)
        for name in MASTERS:
            started.start_master(name, environment=_address(started))
        started.start_worker("worker-1")
        started.wait_for_workers(1)
        yield started
        report(started.log("master-2"))
        started.stop()
        assert _postmaster(started) is None  # the last one stopped it


def _address(cluster: Cluster) -> dict[str, str]:
    return {"DATABASE_URL": f"embedded:{cluster.directory / 'postgres'}"}


def _postmaster(cluster: Cluster) -> int | None:
    path: Path = cluster.directory / "postgres" / "data" / "postmaster.pid"
    return int(path.read_text().split()[0]) if path.exists() else None


def _kill_postgres(cluster: Cluster) -> None:
    pid = _postmaster(cluster)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def _more(submitted: Load) -> None:
    count = len(submitted.accepted)
    until("more tasks come in", lambda: len(submitted.accepted) > count + 5)


def test_masters_bring_a_killed_server_back(running: Cluster) -> None:
    ledger = Ledger(running.directory / "ledger")
    with load(running, ledger, "master-2") as submitted:
        _more(submitted)
        _kill_postgres(running)
        until("requests are refused", lambda: submitted.refusals)
        _more(submitted)
        running.kill("master-1")  # it started the first server
        _kill_postgres(running)
        _more(submitted)
        running.start_master("master-1", environment=_address(running))
    assert not submitted.surprises
    check_once_each(running.client(*MASTERS), ledger, submitted.task_ids, "the server was killed twice")
