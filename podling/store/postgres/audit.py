"""The audit, numbered as it arrives and read by time."""

from collections.abc import Sequence
from datetime import datetime

from podling.core.audit import AuditEntry
from podling.store.ports.audit import MOST_ENTRIES, AuditQuery, AuditRow
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
from podling.store.postgres.maintenance import deletions, forget
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import from_json, to_json

_SQL = load("audit")


class AuditTable:
    """The port `Audit`."""

    def __init__(self, pool: Pool, most: int = MOST_ENTRIES) -> None:
        self._pool = pool
        self._most = most

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        if entries:
            times = [entry.at for entry in entries]
            await self._pool.fetch(_SQL.add, times, [to_json(entry) for entry in entries])

    async def find(self, query: AuditQuery) -> Sequence[AuditRow]:
        at, number = query.before or (None, None)
        rows = await self._pool.fetch(
            _SQL.find,
            query.actor,
            query.method,
            query.route,
            query.outcome,
            query.since,
            query.until,
            at,
            number,
            query.limit,
        )
        return [AuditRow(number=row["number"], entry=from_json(AuditEntry, row["body"])) for row in rows]

    async def forget(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        return await forget(
            seconds,
            deletions(self._pool, _SQL.forget_old, before),
            deletions(self._pool, _SQL.forget_many, self._most),
        )
