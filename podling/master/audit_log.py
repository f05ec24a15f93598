"""The audit on its way into the store: written behind the requests, many entries at once."""

import asyncio
import logging
from collections import deque

from podling.core.audit import AuditEntry
from podling.core.errors import PodlingError
from podling.kit.wakeup import Wakeup
from podling.store.ports.audit import Audit

MOST_WAITING = 20_000  # while the store is away; then the oldest are told to the log alone
MOST_PER_WRITE = 1000

_log = logging.getLogger(__name__)


class AuditLog:
    """`run_once` writes what was noted; a kill -9 loses no more than what came since it last ran."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._waiting: deque[AuditEntry] = deque()
        self._turn = asyncio.Lock()
        self.wakeup = Wakeup()

    def note(self, entry: AuditEntry) -> None:
        """Have it written; never waits."""
        self._waiting.append(entry)
        if len(self._waiting) == MOST_PER_WRITE:
            self.wakeup.set()
        if len(self._waiting) > MOST_WAITING:
            _log.warning("the audit cannot be written, so it is told here: %s", self._waiting.popleft())

    async def run_once(self) -> float | None:
        await self.flush()
        return None

    async def flush(self) -> None:
        """Write everything that was noted before. Raises StoreUnavailable, and keeps it then."""
        async with self._turn:
            for _ in range(-(-len(self._waiting) // MOST_PER_WRITE)):
                entries = [self._waiting.popleft() for _ in range(min(MOST_PER_WRITE, len(self._waiting)))]
                try:
                    await self._audit.add(entries)
                except BaseException:
                    self._waiting.extendleft(reversed(entries))
                    raise

    async def hurry(self) -> None:
        """Write what was noted before going on, if the store can be reached."""
        try:
            await self.flush()
        except PodlingError as error:
            _log.warning("the audit is written later: %s", error.message)
