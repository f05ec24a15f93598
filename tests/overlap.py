"""How many intervals there are at a time, at most."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Interval = tuple[datetime, datetime]


def interval_of(attempt: Mapping[str, Any]) -> Interval | None:
    """Return from when to when an attempt ran, by its own times."""
    if not attempt["startedAt"] or not attempt["finishedAt"]:
        return None
    return datetime.fromisoformat(attempt["startedAt"]), datetime.fromisoformat(attempt["finishedAt"])


def largest_overlap(intervals: Iterable[Interval]) -> int:
    """Return how many intervals contain one moment, at most."""
    steps: Counter[tuple[datetime, int]] = Counter()
    for begin, end in intervals:
        steps[begin, 1] += 1
        steps[end, -1] += 1
    now = most = 0
    for (_, step), times in sorted(steps.items()):  # at one moment ends come first
        now += step * times
        most = max(most, now)
    return most
