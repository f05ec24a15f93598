"""Whether who follows a log keeps up with it."""

from collections.abc import AsyncIterator

from podling.core.logrecord import LogRecord
from podling.kit.clock import Clock

BEHIND_SECONDS = 0.5


class Pace:
    """Compares how long records took to get here; the engine's clock may be another than ours."""

    def __init__(self, clock: Clock) -> None:
        self.is_behind = False
        self._clock = clock
        self._least = float("inf")

    async def kept(self, records: AsyncIterator[LogRecord]) -> AsyncIterator[LogRecord]:
        """Yield records up to the first that took BEHIND_SECONDS longer than another one."""
        async for record in records:
            delay = self._clock.monotonic() - record.at.timestamp()
            self._least = min(self._least, delay)
            self.is_behind = delay - self._least > BEHIND_SECONDS
            if self.is_behind:
                return
            yield record
