"""What a run prints: the machine, a line a repetition, the medians."""

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from podling import __version__
from podling.kit.figures import percentile as percentile
from podling.kit.figures import result_line as result_line

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


def medians(results: Sequence[Result]) -> Result:
    """Return the median of every number over the repetitions that have seen one."""
    keys = dict.fromkeys(key for result in results for key in result)
    return {key: _middle([result[key] for result in results if key in result]) for key in keys}


def _middle(numbers: Sequence[float]) -> float:
    seen = [number for number in numbers if math.isfinite(number)]
    return median(seen) if seen else math.nan


def summary(results: Sequence[Result]) -> str:
    """Return the medians in one line."""
    numbers = ", ".join(f"{key} {number:.4g}" for key, number in medians(results).items())
    return f"medians of {len(results)}: {numbers}"
