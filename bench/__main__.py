"""Run scenarios some times, print one BENCH_RESULT line for each repetition, then the medians.

Without a scenario all of the sheet are run, and what they gave is written into docs/. What fails is
told and leaves the rest as it is: other repetitions, other scenarios, and what is on record.
"""

import argparse
import asyncio
import importlib
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import plots, profile, records
from bench.records import Record
from bench.render import PAGE, around, render
from bench.report import Result, machine, result_line, summary
from bench.sheet import ENTRIES, Entry, find, scenarios
from bench.trial import Trial
from podling.core.errors import InvalidInput, PodlingError

DOCS = Path(__file__).parent.parent / "docs"
PROFILE = "profile"
Run = Callable[[Trial], Coroutine[Any, Any, Result]]


def main() -> int:
    """Return the exit code."""
    listed = ", ".join((*scenarios(), PROFILE))
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=f"all if left out: {listed}")
    parser.add_argument("--store", choices=("memory", "postgres"), default="postgres")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of steady state; less is for trying")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: smaller numbers, for trying")
    parser.add_argument("--record", type=Path, metavar="DOCS", help="write the results into this folder")
    given = parser.parse_args()
    if unknown := set(given.scenario) - {*scenarios(), PROFILE}:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {listed}")
    # So that a SIGTERM, too, ends what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(machine())
    wanted = [find(name, given.store) for name in given.scenario if name != PROFILE]
    trial = Trial(given.store, given.seconds, given.scale)
    is_whole = trial == Trial(given.store) and given.repetitions >= 3
    docs = given.record or (DOCS if is_whole and not given.scenario else None)
    try:
        if docs is not None:
            around(docs)  # now, and not after hours
        failed = 0
        if wanted or not given.scenario:
            failed = run_all(wanted or ENTRIES, trial, given.repetitions, docs)
        if PROFILE in given.scenario or not given.scenario:
            failed |= look_on(trial, given.record or DOCS)
        return failed
    except InvalidInput as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def run_all(wanted: Sequence[Entry], trial: Trial, repetitions: int, docs: Path | None) -> int:
    """Run and record one entry after the other; return 1 if anything of it failed."""
    failed, commit = 0, _commit()  # before the documents are written
    for entry in wanted:
        scenario = importlib.import_module(f"bench.{entry.scenario}")
        one = replace(trial, store=entry.store)
        print(f"scenario {entry.scenario}, store {entry.store}: {scenario.SETTINGS}", flush=True)
        print(f"{one}, {repetitions} repetitions", flush=True)
        results = list(_repeat(entry, scenario.run, one, repetitions))
        failed |= len(results) < repetitions
        if not results:
            continue
        print(summary(results), flush=True)
        if docs is not None:
            settings = f"{scenario.SETTINGS}; {one.words(len(results))}"
            kept = Record(entry.scenario, entry.store, settings, machine(), commit, results)
            known = records.add(docs, kept, ENTRIES)
            render(docs, known, plots.draw(docs / "benchmarks", known))
    return int(failed)


def look_on(trial: Trial, docs: Path) -> int:
    """Write the profiles of the two most important scenarios into the page; return 1 if that failed."""
    try:
        around(docs, profile.BEGIN, profile.END)
        seen = [asyncio.run(profile.profile(name, trial)) for name in profile.FLOWS]
    except (PodlingError, TimeoutError, OSError) as error:
        print(f"bench: profile: {_told(error)}", file=sys.stderr, flush=True)
        return 1
    profile.write(docs, seen, f"By py-spy, {trial.seconds:g} s each, on {machine()}; {_commit()}.")
    print(f"bench: the profiles are in {docs / PAGE}", flush=True)
    return 0


def _repeat(entry: Entry, run: Run, trial: Trial, repetitions: int) -> Iterator[Result]:
    """Yield what each repetition gave that did not fail."""
    for number in range(1, repetitions + 1):
        try:
            result = asyncio.run(run(trial))
        except Exception as error:  # noqa: BLE001 - it is told, and the exit code tells it too
            print(f"bench: {entry.name}, repetition {number}: {_told(error)}", file=sys.stderr, flush=True)
            continue
        print(result_line(entry.scenario, entry.store, result), flush=True)
        yield result


def _told(error: Exception) -> str:
    """Return the sentence of an error that has one, and all that is known of any other."""
    if isinstance(error, PodlingError):
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


def _commit() -> str:
    """Return which commit this is, and the day."""
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=False, timeout=30)
    return f"commit {found.stdout.strip() or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    sys.exit(main())
