"""Run scenarios some times, print one BENCH_RESULT line for each repetition, then the medians.

Without a scenario all of the sheet are run, and what they gave is written into docs/.
"""

import argparse
import asyncio
import importlib
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import plots, records
from bench.records import Record
from bench.render import render
from bench.report import Result, machine, result_line, summary
from bench.sheet import ENTRIES, Entry, find, scenarios
from bench.trial import Trial
from podling.core.errors import PodlingError

DOCS = Path(__file__).parent.parent / "docs"
Run = Callable[[Trial], Coroutine[Any, Any, Result]]


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("scenario", nargs="?", choices=scenarios(), help="all of them if left out")
    parser.add_argument("--store", choices=("memory", "postgres"), default="postgres")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of steady state; less is for trying")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: smaller numbers, for trying")
    parser.add_argument("--record", type=Path, metavar="DOCS", help="write the results into this folder")
    given = parser.parse_args()
    # So that a SIGTERM, too, ends what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(machine())
    wanted = [find(given.scenario, given.store)] if given.scenario else ENTRIES
    trial = Trial(given.store, given.seconds, given.scale)
    is_whole = trial == Trial(given.store) and given.repetitions >= 3
    docs = given.record or (DOCS if is_whole and not given.scenario else None)
    try:
        return _run_all(wanted, trial, given.repetitions, docs)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def _run_all(wanted: Sequence[Entry], trial: Trial, repetitions: int, docs: Path | None) -> int:
    """One that fails is told, and does not keep the others from being measured."""
    failed, commit = 0, _commit()  # before the documents are written
    for entry in wanted:
        scenario = importlib.import_module(f"bench.{entry.scenario}")
        one = Trial(entry.store, trial.seconds, trial.scale)
        print(f"scenario {entry.scenario}, store {entry.store}: {scenario.SETTINGS}", flush=True)
        print(f"{one}, {repetitions} repetitions", flush=True)
        try:
            results = _repeat(entry, scenario.run, one, repetitions)
        except (PodlingError, TimeoutError) as error:
            print(f"bench: {entry.name}: {error or 'it took too long'}", file=sys.stderr)
            failed = 1
            continue
        print(summary(results), flush=True)
        if docs is not None:
            kept = Record(entry.scenario, entry.store, scenario.SETTINGS, machine(), commit, results)
            known = records.add(docs, kept, ENTRIES)
            render(docs, known, plots.draw(docs / "benchmarks", known))
    return failed


def _repeat(entry: Entry, run: Run, trial: Trial, repetitions: int) -> list[Result]:
    results: list[Result] = []
    for _ in range(repetitions):
        results.append(asyncio.run(run(trial)))
        print(result_line(entry.scenario, entry.store, results[-1]), flush=True)
    return results


def _commit() -> str:
    """Return which commit this is, and the day."""
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=False, timeout=30)
    return f"commit {found.stdout.strip() or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    sys.exit(main())
