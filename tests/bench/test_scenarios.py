"""Every scenario runs, in small: the figures mean nothing, but they are there and all is ended."""

import importlib
import math
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.report import Result
from bench.sheet import ENTRIES, Entry, find, scenarios
from bench.trial import Trial
from tests.docker_engine import engine_answers, make_image
from tests.support import require

ROOT = Path(__file__).parents[2]
DOCKER = ("containers", "latency", "adoption")
DEADLINE_SECONDS = 60.0
# By name, what people and programs read in the lines that it prints.
FIELDS = {
    "containers": "ratio rate raw_rate",
    "latency": "start_over_raw_ms_p50 start_over_raw_ms_p99",
    "lifecycle": "rate",
    "nodes": "missed_beats plan_ms_p99",
    "processes": "rate raw_rate",
    "locks": "ratio rate",
    "backlog": "ratio",
    "submit": "rate p99_ms",
    "batch": "rate",
    "functions": "rate ratio_pgqueuer",
    "idle": "p50_ms p95_ms",
}
QUICK = ("lifecycle memory", "nodes memory")


async def _run(entry: Entry, seconds: float) -> Result:
    result = await importlib.import_module(f"bench.{entry.scenario}").run(Trial(entry.store, seconds, 0.002))
    seen = {key: number for key, number in result.items() if not key.startswith("beat_")}  # one in 4 s
    assert all(math.isfinite(number) for number in seen.values()), result
    return dict(result)


@pytest.mark.parametrize("name", QUICK)
async def test_it_runs_in_small(name: str) -> None:
    result = await _run(find(*name.split()), 1.0)
    assert all(result.get(key, 0) == 0 for key in ("refused", "missed_beats", "sessions_lost"))
    assert result.get("rate", 1) > 0
    assert result["lag_ms_p99"] >= 0
    assert all(result[key] > 0 for key in ("plan_ms_p99", "report_ms_p99") if key in result), result


@pytest.mark.soak
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
async def test_every_scenario_runs(entry: Entry) -> None:
    if entry.scenario in DOCKER:
        require(engine_answers(), "no Docker engine answers")
        make_image()
    result = await _run(entry, 2.0)
    assert all(bar.key in result for bar in entry.bars)
    assert result.keys() >= set(FIELDS.get(entry.scenario, "").split())


def test_every_scenario_of_the_contract_is_there() -> None:
    assert FIELDS.keys() <= set(scenarios())


@pytest.mark.soak
def test_the_profiler_looks_on(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text((ROOT / "docs" / "benchmarks.md").read_text())
    command = [sys.executable, "-m", "bench", "profile", "--seconds", "3", "--record", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=10 * DEADLINE_SECONDS)
    text = page.read_text()
    assert text.count("| own time of the master | share |") == 2
    assert text.count("| own time of the worker | share |") == 1
    assert all("<svg" in file.read_text() for file in (tmp_path / "benchmarks").iterdir())


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_nothing_is_left_running(by: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "lifecycle", "--store", "memory"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as bench:
        try:
            started = [os.pidfd_open(pid) for pid in _children(bench.pid, 3)]
            bench.send_signal(by)
            assert bench.wait(DEADLINE_SECONDS) == (-9 if by is signal.SIGKILL else 130)
            for descriptor in started:
                assert select.select([descriptor], [], [], DEADLINE_SECONDS)[0]
                os.close(descriptor)
        finally:
            bench.kill()
    assert by is signal.SIGKILL or not list(tmp_path.iterdir())


def _children(pid: int, count: int) -> list[int]:
    """Return the processes that it has started, once there are so many: master, workers, load."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(found) >= count:
            return [int(one) for one in found]
        time.sleep(0.05)
    raise AssertionError(f"there were not {count} processes in time")
