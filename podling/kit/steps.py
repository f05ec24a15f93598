"""Steps of the wall clock, seen against the clock that never steps."""

from datetime import datetime, timedelta

from podling.kit.clock import Clock

LEAST_SECONDS = 30.0  # less is drift, or a correction that harms nobody
_MOST_KEPT = 1000


class WallSteps:
    """Remembers by how much the wall clock was set forward; `observe` is called every second or so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now(), clock.monotonic()
        self._steps: list[tuple[datetime, timedelta]] = []

    @property
    def any(self) -> bool:
        return bool(self._steps)

    def observe(self) -> None:
        """Compare how far both clocks went since the last look."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        ahead = (wall - self._wall).total_seconds() - (monotonic - self._monotonic)
        if ahead >= LEAST_SECONDS:
            self._steps.append((self._wall, timedelta(seconds=ahead)))
            del self._steps[:-_MOST_KEPT]
        self._wall, self._monotonic = wall, monotonic

    def since(self, start: datetime) -> timedelta:
        """Return what of the wall clock's way since `start` was no time at all."""
        return sum((ahead for before, ahead in self._steps if start <= before), timedelta())
