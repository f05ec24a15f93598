"""Run a scenario some times and print one BENCH_RESULT line for each repetition."""

import argparse
import asyncio
import importlib
import sys

from bench.report import machine, result_line, summary
from podling.core.errors import PodlingError

SCENARIOS = ("containers", "latency", "adoption", "lifecycle", "submit", "batch")


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--store", choices=("memory", "postgres"), default="postgres")
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    scenario = importlib.import_module(f"bench.{given.scenario}")
    print(machine())
    print(f"scenario {given.scenario}, store {given.store}: {scenario.SETTINGS}")
    results = []
    try:
        for _ in range(given.repetitions):
            results.append(asyncio.run(scenario.run(given.store)))
            print(result_line(given.scenario, given.store, results[-1]), flush=True)
    except PodlingError as error:
        print(f"bench: {error.message}", file=sys.stderr)
        return 1
    print(summary(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
