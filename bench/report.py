"""What a run prints: the machine, a line a repetition, the medians."""

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from podling import __version__

Result = dict[str, float]


def machine() -> str:
    """Return the machine in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"podling {__version__} on {_processor()}, {os.cpu_count()} CPUs, {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def result_line(scenario: str, store: str, result: Result) -> str:
    """Return the line that scripts read."""
    numbers = " ".join(f"{key}={number:.4g}" for key, number in result.items())
    return f"BENCH_RESULT scenario={scenario} store={store} {numbers}"


def medians(results: Sequence[Result]) -> Result:
    """Return the median of every number over the repetitions."""
    return {key: median(result[key] for result in results) for key in results[0]}


def summary(results: Sequence[Result]) -> str:
    """Return the medians in one line."""
    numbers = ", ".join(f"{key} {number:.4g}" for key, number in medians(results).items())
    return f"medians of {len(results)}: {numbers}"


def percentile(numbers: Sequence[float], percent: float) -> float:
    """Return the smallest number that at least `percent` of all do not exceed; NaN without any."""
    if not numbers:
        return math.nan
    ordered = sorted(numbers)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]
