"""Wall clocks that are hours and years off, and that jump while everything runs (libfaketime).

libfaketime 0.9.10 changes CLOCK_REALTIME alone where FAKETIME_DONT_FAKE_MONOTONIC=1 is set;
without it CLOCK_MONOTONIC and CLOCK_BOOTTIME follow, which no real clock ever does.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podling.client import cluster, nodes, tasks
from tests.e2e.programs import until
from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.programs import Cluster, Ledger, a_cluster, check_once_each, ended
from tests.support import IN_SOAK, require

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
PARTS = ("postgres", "master-1", "worker-1")
JUMPS = [
    {"master-1": "+1h", "worker-1": "-3y", "postgres": "+3y"},
    {"master-1": "-2y", "worker-1": "+5y", "postgres": "-1h"},
]
MORE_JUMPS = [{part: offset} for offset in ("-1h", "+10y", "-1y", "+1h") for part in PARTS] * 3

pytestmark = [pytest.mark.xdist_group("faults-clocks"), pytest.mark.timeout(900)]


class Clocks:
    """A file for each part that says how far its clock is off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.set({})

    def set(self, offsets: Mapping[str, str]) -> None:
        """Let the clocks jump; those that are not named go right."""
        for part in PARTS:
            draft = self._folder / f"{part}.draft"
            draft.write_text(offsets.get(part, "+0"))
            draft.chmod(0o644)
            draft.rename(self._path(part))

    def _path(self, part: str) -> Path:
        return self._folder / f"clock-of-{part}"

    def environment(self, part: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._path(part)),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@dataclass
class Shifted:
    clocks: Clocks
    server: OwnPostgres
    cluster: Cluster
    ledger: Ledger


@pytest.fixture(scope="module")
def shifted() -> Iterator[Shifted]:
    require(LIBRARY, "Debian's faketime is not installed")
    with a_cluster(lease_seconds=12.0) as started:
        started.directory.chmod(0o755)
        clocks = Clocks(started.directory)
        with own_postgres(clocks.environment("postgres")) as server:
            environment = {"DATABASE_URL": server.dsn, **clocks.environment("master-1")}
            started.start_master("master-1", environment=environment)
            started.start_worker("worker-1", environment=clocks.environment("worker-1"))
            started.wait_for_workers(1)
            yield Shifted(clocks, server, started, Ledger(started.directory / "ledger"))
            started.stop()


def test_only_the_wall_clock_is_changed(shifted: Shifted) -> None:
    shifted.clocks.set({"worker-1": "+3y"})
    code = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic(), time.time())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | shifted.clocks.environment("worker-1"),
        check=True, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    boot, monotonic, wall = map(float, done.stdout.split())
    assert abs(boot - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
    assert abs(monotonic - time.monotonic()) < 60
    assert wall - time.time() > timedelta(days=3 * 365 - 1).total_seconds()


def test_leases_hold_and_tasks_run_whatever_the_clocks_say(shifted: Shifted) -> None:
    shifted.clocks.set({})
    client = shifted.cluster.client("master-1")
    long = str(client.submit(shifted.ledger.spec("long", 600))["taskId"])
    until("it runs", lambda: shifted.ledger.count("start", long))
    before: Any = client.send(cluster.read())
    for offsets in JUMPS + (MORE_JUMPS if IN_SOAK else []):
        shifted.clocks.set(offsets)
        specs = [shifted.ledger.spec("short", 0.1) for _ in range(3)]
        submitted = [str(client.submit(spec)["taskId"]) for spec in specs]
        check_once_each(client, shifted.ledger, submitted, str(offsets))
        [node] = client.list_all(nodes.listing)
        assert (node["status"], node["lostReason"]) == ("online", None), offsets
        _check_nothing_is_negative(shifted, submitted[0], offsets)
    task: Any = client.send(tasks.read(long))
    assert (task["status"], task["attempt"]) == ("running", 1)
    after: Any = client.send(cluster.read())
    assert (after["epoch"], after["leader"]) == (before["epoch"], before["leader"])
    client.send(tasks.cancel(long))
    assert ended(client, long)["status"] == "cancelled"


def _check_nothing_is_negative(shifted: Shifted, task_id: str, offsets: Mapping[str, str]) -> None:
    for words in (("ps", "--all"), ("nodes",), ("timeline", task_id), ("explain", task_id)):
        code = "from podling.boot.cli import main; raise SystemExit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, "--master", shifted.cluster.url("master-1"), *words],
            check=False, capture_output=True, text=True, timeout=30, cwd=shifted.cluster.directory,
            env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        assert not re.search(r"(?<![\w.-])-\d", done.stdout), (offsets, words, done.stdout)


def test_a_start_in_the_future_follows_the_masters_clock(shifted: Shifted) -> None:
    shifted.clocks.set({"master-1": "-2y"})
    client = shifted.cluster.client("master-1")
    now = datetime.now(UTC) - timedelta(days=2 * 365)
    spec = shifted.ledger.spec("later", runAt=(now + timedelta(minutes=30)).isoformat())
    task_id = str(client.submit(spec)["taskId"])
    early = str(client.submit(shifted.ledger.spec("now"))["taskId"])
    assert ended(client, early)["status"] == "completed"
    task: Any = client.send(tasks.read(task_id))
    assert task["status"] == "pending"
    shifted.clocks.set({})
    check_once_each(client, shifted.ledger, [task_id], "the clock jumped past its start")
