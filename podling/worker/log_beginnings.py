"""Whether what an engine has first of a container's log is what was written first.

An engine keeps so much of it and drops the oldest in silence. While less than that has been
written, what is there first was first; this is remembered, and a log that begins later has lost its
beginning. Where nobody has looked so early, a log of more than is surely kept counts as one that
has: it may be whole, but nobody can know.
"""

from collections.abc import AsyncIterator
from datetime import datetime

from podling.core.logrecord import LogRecord, gap
from podling.worker.runtime.base import LogLimit


class Beginning:
    """How the log of one container began, as far as anybody has looked; no `limit`: nothing is dropped."""

    def __init__(self, limit: LogLimit | None) -> None:
        self.is_lost = False
        self._limit = limit
        self._first: datetime | None = None

    @property
    def is_known(self) -> bool:
        return self._limit is None or self.is_lost or self._first is not None

    async def measured(self, records: AsyncIterator[LogRecord]) -> AsyncIterator[LogRecord]:
        """Yield all that is there now, and find out by its length whether that is the beginning."""
        first, size = None, 0
        async for record in records:
            first = first or record.at
            if not self.is_known:
                assert self._limit is not None
                size += self._limit.size_of(record)
                self.is_lost = size >= self._limit.surely_kept_bytes
            yield record
        if not self.is_lost:
            self._first = self._first or first

    async def marked(self, records: AsyncIterator[LogRecord]) -> AsyncIterator[LogRecord]:
        """Yield what begins where the engine's log does, after a gap if that is not the beginning."""
        is_first = True
        async for record in records:
            if is_first and self._begins_late(record):
                yield gap(record.at)
            is_first = False
            yield record

    def _begins_late(self, record: LogRecord) -> bool:
        self.is_lost = self.is_lost or (self._first is not None and self._first < record.at)
        return self.is_lost
