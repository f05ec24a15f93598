"""The audit of a store that keeps nothing for long."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from heapq import nlargest

from podling.core.audit import AuditEntry
from podling.store.ports.audit import AuditQuery, AuditRow
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten


class AuditTable:
    def __init__(self, most: int) -> None:
        self._number = 0
        self._rows: deque[AuditRow] = deque(maxlen=most)

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        for entry in entries:
            self._number += 1
            self._rows.append(AuditRow(number=self._number, entry=entry))

    async def find(self, query: AuditQuery) -> Sequence[AuditRow]:
        return nlargest(query.limit, filter(query.means, self._rows), key=lambda row: row.place)

    async def forget(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        kept = [row for row in self._rows if row.entry.at >= before]
        removed = len(self._rows) - len(kept)
        self._rows.clear()
        self._rows.extend(kept)
        return Forgotten(removed=removed, is_complete=True)
