"""Containers that write down, many times a second, that they still run; on the clock since the boot."""

import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

from tests.e2e.ledger import Ledger
from tests.e2e.programs import IMAGE

_SCRIPT = (
    'echo "start $PODLING_TASK_ID $PODLING_ATTEMPT" >> /ledger/lines; left={count}; '
    "while [ $left -gt 0 ]; do left=$((left - 1)); read now idle < /proc/uptime; "
    'echo "pulse $PODLING_TASK_ID $PODLING_ATTEMPT $now" >> /ledger/lines; sleep {pause}; done; '
    'echo "end $PODLING_TASK_ID $PODLING_ATTEMPT" >> /ledger/lines'
)
PAUSE_SECONDS = 0.1

Spans = dict[int, tuple[float, float]]


def pulsing(written: Ledger, name: str, seconds: float, **more: Any) -> dict[str, Any]:
    """Return a task that pulses for so long. Its shell is process 1, so that TERM does not end it."""
    script = _SCRIPT.format(count=max(1, round(seconds / PAUSE_SECONDS)), pause=PAUSE_SECONDS)
    return written.spec(name, IMAGE, 0, network="none", **more) | {"command": ["sh", "-c", script]}


def spans(written: Ledger, task_id: str) -> Spans:
    """Return when each attempt of the task gave its first and its last pulse."""
    times: dict[int, list[float]] = defaultdict(list)
    lines = written.path.read_text().splitlines() if written.path.exists() else []
    for word, owner, attempt, *at in map(str.split, lines):
        if word == "pulse" and owner == task_id:
            times[int(attempt)].append(float(at[0]))
    return {attempt: (min(found), max(found)) for attempt, found in times.items()}


def overlaps(found: Spans) -> list[tuple[int, int]]:
    """Return the attempts that ran while the one before still did."""
    numbers = sorted(found)
    return [(one, two) for one, two in pairwise(numbers) if found[two][0] <= found[one][1]]


def now() -> float:
    """Return the time on the clock that the pulses are told by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
