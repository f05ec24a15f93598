"""Numbers that were measured, as scripts read them in one line."""

import math
from collections.abc import Mapping, Sequence


def percentile(numbers: Sequence[float], percent: float) -> float:
    """Return the smallest number that at least `percent` of all do not exceed; NaN without any."""
    if not numbers:
        return math.nan
    ordered = sorted(numbers)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def result_line(scenario: str, store: str, result: Mapping[str, float]) -> str:
    """Return the line that scripts read; whole numbers are written whole."""
    numbers = " ".join(f"{key}={_written(number)}" for key, number in result.items())
    return f"BENCH_RESULT scenario={scenario} store={store} {numbers}"


def _written(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.4g}"
