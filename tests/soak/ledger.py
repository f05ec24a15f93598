"""What tasks wrote about themselves outside Podling."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[str, int]


@dataclass(slots=True)
class Ledger:
    """Starts and ends by task and attempt, with the times of all starts and of the last end.

    `torn` lines say nothing.
    """

    starts: Counter[Key] = field(default_factory=Counter)
    ends: Counter[Key] = field(default_factory=Counter)
    started_at: dict[Key, list[float]] = field(default_factory=dict)
    ended_at: dict[Key, float] = field(default_factory=dict)
    torn: int = 0

    def starts_of_task(self) -> Mapping[str, int]:
        """Count the starts of each task, over all attempts."""
        counted: Counter[str] = Counter()
        for (task_id, _), count in self.starts.items():
            counted[task_id] += count
        return counted


def read_ledgers(paths: Iterable[Path]) -> Ledger:
    """Read all files that are there."""
    lines = [
        line for path in paths if path.exists() for line in path.read_text(errors="replace").splitlines()
    ]
    return parse(lines)


def parse(lines: Iterable[str]) -> Ledger:
    """Read lines such as `start TASK 1 1700000000.123456`."""
    ledger = Ledger()
    for line in lines:
        match line.split():
            case ["start", task_id, attempt, at] if _are_numbers(attempt, at):
                ledger.starts[(task_id, int(attempt))] += 1
                ledger.started_at.setdefault((task_id, int(attempt)), []).append(float(at))
            case ["end", task_id, attempt, at] if _are_numbers(attempt, at):
                ledger.ends[(task_id, int(attempt))] += 1
                ledger.ended_at[(task_id, int(attempt))] = float(at)
            case _:
                ledger.torn += 1
    return ledger


def _are_numbers(attempt: str, at: str) -> bool:
    return attempt.isdecimal() and at.replace(".", "", 1).isdecimal()
