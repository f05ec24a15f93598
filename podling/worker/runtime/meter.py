"""How long an engine's own calls took, to be told apart from Podling's part."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

_current: ContextVar["Meter | None"] = ContextVar("meter", default=None)


@dataclass(slots=True)
class Meter:
    """The calls' seconds together, and when the last of them returned."""

    seconds: float = 0.0
    returned_at: datetime | None = None

    def add(self, seconds: float, returned_at: datetime) -> None:
        self.seconds += seconds
        self.returned_at = returned_at


@contextmanager
def metered() -> Iterator[Meter]:
    """Give a meter that counts the engine's calls which are made inside."""
    meter = Meter()
    before = _current.set(meter)
    try:
        yield meter
    finally:
        _current.reset(before)


def current_meter() -> Meter | None:
    """Return the meter of whoever makes a call now."""
    return _current.get()
