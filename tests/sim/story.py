"""What happened in a world, for whoever has to find out why it went wrong."""

import random
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

MOST_LINES = 400

_START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Story:
    """The last lines, all faults, and a sum over everything that tells two runs apart."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lines: deque[tuple[float, str, Mapping[str, Any]]] = deque(maxlen=MOST_LINES)
        self._faults: list[tuple[float, str]] = []
        self.violations: list[str] = []
        self.sum = 0
        self.faults = 0

    def tell(self, what: str, **details: Any) -> None:
        at = self._now()
        self._lines.append((at, what, details))
        self.sum = zlib.crc32(f"{at!r} {what} {list(details.values())}".encode(), self.sum)

    def fault(self, what: str) -> None:
        self.faults += 1
        self._faults.append((self._now(), what))
        self.tell(f"FAULT {what}")

    def violation(self, law: str, what: str) -> None:
        self.violations.append(f"{law}: {what}")
        self.tell(f"VIOLATION {law} {what}")

    def text(self) -> str:
        """Return the history as it is printed when a seed fails."""
        faults = [f"  {at:10.3f} {what}" for at, what in self._faults]
        lines = [f"  {at:10.3f} {what} {_shown(details)}" for at, what, details in self._lines]
        return "\n".join(["faults:", *faults, f"the last {len(lines)} events:", *lines])


def _shown(details: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in details.items())


class MachineClock:
    """A machine's clocks: `wall` may jump, the monotonic one begins anew with each boot."""

    def __init__(self, now: Callable[[], float], chance: random.Random) -> None:
        self._now = now
        self._booted_at = -chance.random() * 1e6
        self.wall_offset = chance.uniform(-1.0, 1.0)

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._now() + self.wall_offset)

    def monotonic(self) -> float:
        return self._now() - self._booted_at

    def boot(self) -> None:
        self._booted_at = self._now()
