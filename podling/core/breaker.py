"""When a breaker opens, half opens and closes: what `sql/breakers.sql` says in one statement each."""

from dataclasses import replace
from datetime import datetime, timedelta

from podling.core.coordination import Breaker, BreakerState
from podling.core.value import value

FORGOTTEN_AFTER = timedelta(days=30)
"""Without a failure and a success: a breaker that nobody uses any more is as one that nobody has used."""


@value
class BreakerRecord:
    """A breaker as it is kept; times are seconds of the store's own clock beside those for display.

    The state in it is never half open: an open one is, from `half_open_from` on. `probe_until` is when
    somebody else may try, if whoever is trying has not told by then what came of it.
    """

    breaker: Breaker
    cool_down_seconds: float
    half_open_from: float = 0.0
    probe_until: float = 0.0

    def state_at(self, now: float) -> BreakerState:
        if self.breaker.state is BreakerState.OPEN and now >= self.half_open_from:
            return BreakerState.HALF_OPEN
        return self.breaker.state

    def seen_at(self, now: float) -> Breaker:
        """Return what is told of it."""
        return replace(self.breaker, state=self.state_at(now))

    def wait_at(self, now: float) -> float:
        """Return for how many seconds nobody is let through; 0 if somebody is."""
        if self.breaker.state is BreakerState.CLOSED:
            return 0.0
        return max(self.half_open_from - now, self.probe_until - now, 0.0)


def failed(
    record: BreakerRecord, max_failures: int, cool_down: float, now: float, at: datetime
) -> BreakerRecord:
    """Count a failure: the last that is borne opens the breaker, and a failed probe opens it again."""
    count = record.breaker.failure_count + 1
    breaker = replace(record.breaker, failure_count=count, last_failure_at=at)
    state = record.state_at(now)
    if state is BreakerState.HALF_OPEN or (state is BreakerState.CLOSED and count >= max_failures):
        return _opened(replace(record, breaker=breaker, cool_down_seconds=cool_down), now, at)
    return replace(record, breaker=breaker)


def succeeded(record: BreakerRecord, now: float, at: datetime) -> BreakerRecord:
    """Count a success: it closes all but an open breaker, for which it came from before."""
    breaker = replace(record.breaker, last_success_at=at)
    if record.state_at(now) is BreakerState.OPEN:
        return replace(record, breaker=breaker)
    return _closed(replace(record, breaker=breaker))


def put(
    record: BreakerRecord, state: BreakerState, cool_down: float, now: float, at: datetime
) -> BreakerRecord:
    """Set the state by hand."""
    record = replace(record, cool_down_seconds=cool_down)
    if state is BreakerState.CLOSED:
        return _closed(record)
    opened = _opened(record, now, at)
    return opened if state is BreakerState.OPEN else replace(opened, half_open_from=now)


def probing(record: BreakerRecord, now: float) -> BreakerRecord:
    """Note that somebody tries, with one cool-down's time to tell what came of it."""
    return replace(record, probe_until=now + record.cool_down_seconds)


def is_forgotten(record: BreakerRecord, now: float, at: datetime) -> bool:
    """Whether it is so long that anybody has used it that it is as good as new."""
    breaker = record.breaker
    times = (breaker.last_failure_at, breaker.last_success_at, breaker.opened_at)
    is_recent = any(time is not None and time > at - FORGOTTEN_AFTER for time in times)
    is_over = record.half_open_from < now - FORGOTTEN_AFTER.total_seconds()
    return not is_recent and (is_over or breaker.state is BreakerState.CLOSED)


def _opened(record: BreakerRecord, now: float, at: datetime) -> BreakerRecord:
    breaker = replace(record.breaker, state=BreakerState.OPEN, opened_at=at)
    return replace(record, breaker=breaker, half_open_from=now + record.cool_down_seconds, probe_until=0.0)


def _closed(record: BreakerRecord) -> BreakerRecord:
    breaker = replace(record.breaker, state=BreakerState.CLOSED, failure_count=0, opened_at=None)
    return replace(record, breaker=breaker, half_open_from=0.0, probe_until=0.0)
