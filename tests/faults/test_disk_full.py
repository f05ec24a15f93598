"""The disk is full: under PostgreSQL's tables, under its log, under a worker."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from podling.client import nodes, tasks
from podling.store.postgres.errors import DRIVER_ERRORS
from tests.e2e.programs import until
from tests.faults.load import load
from tests.faults.own_postgres import OwnPostgres, own, own_postgres, server_home
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each, ended
from tests.faults.small_disk import SmallDisk, small_disk

pytestmark = [pytest.mark.xdist_group("faults-disk"), pytest.mark.timeout(300)]


@pytest.fixture
def running() -> Iterator[Cluster]:
    with a_cluster(lease_seconds=4.0) as started:
        yield started


def _start(running: Cluster, dsn: str) -> Ledger:
    running.start_master("master-1", environment={"DATABASE_URL": dsn})
    running.start_worker("worker-1")
    running.wait_for_workers(1)
    return Ledger(running.directory / "ledger")


def test_full_tables_are_told_and_forgotten_when_there_is_space(running: Cluster) -> None:
    with own_postgres() as server, small_disk(server.home.parent / "small", 64) as disk:
        dsn = _database_on(server, disk)
        ledger = _start(running, dsn)
        with load(running, ledger, "master-1") as submitted:
            until("tasks come in", lambda: len(submitted.accepted) > 5)
            disk.fill()
            until("it is told", lambda: any("disk is full" in told for told in submitted.refusals))
            assert running.status_of("master-1", "/health")[0] == 200
            disk.free()
            count = len(submitted.accepted)
            until("tasks come in again", lambda: len(submitted.accepted) > count + 5)
        assert not submitted.surprises
        check_once_each(running.client("master-1"), ledger, submitted.task_ids, "the disk was full")
        running.stop()


def _database_on(server: OwnPostgres, disk: SmallDisk) -> str:
    """Make a database whose tables lie on the disk, while PostgreSQL's log lies elsewhere."""
    place = disk.path / "tables"
    place.mkdir()
    own(place)
    server.query(f"CREATE TABLESPACE small LOCATION '{place}'")
    server.query("CREATE DATABASE podling TABLESPACE small")
    return server.dsn.removesuffix("/postgres") + "/podling"


@pytest.mark.soak
def test_a_full_log_stops_postgres_and_everything_goes_on_after_it(running: Cluster) -> None:
    with server_home() as home, small_disk(home.parent / "small", 24) as disk:
        server = OwnPostgres(home)
        own(disk.path)
        server.initialize("--wal-segsize=1", f"--waldir={disk.path / 'log'}")
        server.start(max_wal_size="1GB", min_wal_size="2MB", wal_recycle="off")
        try:
            _run_into_the_full_log(running, server, disk)
        finally:
            disk.free()
            running.stop()
            server.stop("immediate")


def _run_into_the_full_log(running: Cluster, server: OwnPostgres, disk: SmallDisk) -> None:
    ledger = _start(running, server.dsn)
    with load(running, ledger, "master-1") as submitted:
        until("tasks come in", lambda: len(submitted.accepted) > 5)
        disk.fill()
        until("PostgreSQL gives up", lambda: not _writes_on(server))
        until("requests are refused", lambda: len(submitted.refusals) > 3)
        disk.free()
        server.wait_until_ready()
        count = len(submitted.accepted)
        until("tasks come in again", lambda: len(submitted.accepted) > count + 5)
    assert not submitted.surprises
    check_once_each(running.client("master-1"), ledger, submitted.task_ids, "the log was full")


def _writes_on(server: OwnPostgres) -> bool:
    """Whether another megabyte of log could be written."""
    try:
        server.query("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000))")
    except DRIVER_ERRORS:
        return False
    return True


def test_a_worker_whose_disk_is_full_keeps_its_exits_and_says_so(running: Cluster) -> None:
    with own_postgres() as server, small_disk(running.directory / "small", 16) as disk:
        running.start_master("master-1", environment={"DATABASE_URL": server.dsn})
        running.start_worker("worker-1", "--data-dir", str(disk.path / "worker"))
        running.wait_for_workers(1)
        ledger = Ledger(running.directory / "ledger")
        client = running.client("master-1")
        gate = running.directory / "gate"
        script = (
            f"while ! [ -e {gate} ]; do sleep 0.05; done; "
            f'echo "end $PODLING_TASK_ID $PODLING_ATTEMPT" >> {ledger.path}; exit 7'
        )
        spec = {"name": "gated", "runtime": "process", "command": ["/bin/sh", "-c", script]}
        held = [str(client.submit(spec)["taskId"]) for _ in range(3)]
        until("they run", lambda: _statuses(client, held) == {"running"})
        disk.fill()
        gate.touch()
        until("they end", lambda: all(ledger.count("end", task_id) for task_id in held))
        until("the node says why", lambda: "disk" in str(_node(client)["unhealthy"]))
        assert "disk under the worker's data directory is full" in _typed(running, "nodes")
        waiting = str(client.submit(ledger.spec("waits"))["taskId"])
        assert _statuses(client, held) == {"running"}  # nothing is told that is not on disk
        disk.free()
        for task_id in held:
            task = ended(client, task_id)
            assert (task["status"], task["exitCode"], task["attempt"]) == ("failed", 7, 1)
        until("the node is well", lambda: _node(client)["unhealthy"] is None)
        check_once_each(client, ledger, [waiting], "there is space again")
        running.stop()


def _statuses(client: Any, task_ids: list[str]) -> set[str]:
    return {client.send(tasks.read(task_id))["status"] for task_id in task_ids}


def _node(client: Any) -> dict[str, Any]:
    [node] = client.list_all(nodes.listing)
    return dict(node)


def _typed(running: Cluster, *words: str) -> str:
    code = "from podling.boot.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "--master", running.url("master-1"), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
