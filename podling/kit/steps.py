"""Steps of the wall clock, seen against the clock that never steps."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from podling.kit.clock import Clock

LEAST_SECONDS = 30.0  # less is drift, or a correction that harms nobody
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The wall clock's times from one step to the next, and by how much that one set it forward (or back)."""

    first: datetime
    last: datetime
    ahead: timedelta

    @property
    def resumed(self) -> datetime:
        return self.last + self.ahead


class WallSteps:
    """Remembers by how much the wall clock was set; `observe` is called every second or so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now(), clock.monotonic()
        self._first = datetime.min.replace(tzinfo=UTC)  # of the stretch that goes on
        self._stretches: list[_Stretch] = []

    @property
    def any(self) -> bool:
        return bool(self._stretches)

    def observe(self) -> None:
        """Compare how far both clocks went since the last look."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        last = self._wall + timedelta(seconds=monotonic - self._monotonic)
        if abs(wall - last) >= timedelta(seconds=LEAST_SECONDS):
            self._stretches.append(_Stretch(self._first, last, wall - last))
            del self._stretches[:-_MOST_KEPT]
            self._first = wall
        self._wall, self._monotonic = wall, monotonic

    def since(self, start: datetime) -> timedelta:
        """Return what of the wall clock's way since `start` was no time at all.

        After a step back the clock shows the same times again: of all that `start` may mean, the
        answer is the most, so that nobody is said to have waited longer than is true. What a step
        forward passed over counts as the moment of the step.
        """
        later = timedelta()
        meant = [later] if start >= self._first else []
        passed_over: list[timedelta] = []
        for stretch in reversed(self._stretches):
            if stretch.first <= start <= stretch.last:
                meant.append(stretch.ahead + later)
            elif stretch.last < start < stretch.resumed:
                passed_over.append(stretch.resumed - start + later)
            later += stretch.ahead
        return max(timedelta(), *(meant or passed_over or [later]))
