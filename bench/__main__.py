"""Run a scenario some times and print one BENCH_RESULT line for each repetition."""

import argparse
import asyncio
import importlib
import sys

from bench.report import Result, machine, result_line, summary
from bench.trial import Trial
from podling.core.errors import PodlingError

SCENARIOS = (
    "containers",
    "latency",
    "adoption",
    "lifecycle",
    "submit",
    "batch",
    "processes",
    "nodes",
    "backlog",
    "memory",
    "slow_commit",
    "blocked",
)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--store", choices=("memory", "postgres"), default="postgres")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of steady state, for trying")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: smaller numbers, for trying")
    given = parser.parse_args()
    trial = Trial(given.store, given.seconds, given.scale)
    scenario = importlib.import_module(f"bench.{given.scenario}")
    print(machine())
    print(f"scenario {given.scenario}, store {given.store}: {scenario.SETTINGS}; {trial}")
    results: list[Result] = []
    try:
        for _ in range(given.repetitions):
            results.append(asyncio.run(scenario.run(trial)))
            print(result_line(given.scenario, given.store, results[-1]), flush=True)
    except PodlingError as error:
        print(f"bench: {error.message}", file=sys.stderr)
        return 1
    print(summary(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
