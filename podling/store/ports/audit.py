"""Where the audit is kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from podling.core.audit import AuditEntry, Outcome
from podling.core.value import value

MOST_ENTRIES = 1_000_000
"""More are never kept for long, however young they are."""


@value
class AuditRow:
    number: int
    entry: AuditEntry


@value
class AuditQuery:
    """`since` is the first moment that is meant, `until` the first that is no more."""

    actor: str | None = None
    method: str | None = None
    route: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int

    def means(self, row: AuditRow) -> bool:
        """Say whether this entry is asked for."""
        entry = row.entry
        wanted = (self.actor, self.method, self.route, self.outcome)
        found = (entry.actor, entry.method, entry.route, entry.outcome)
        return (
            all(want in (None, have) for want, have in zip(wanted, found, strict=True))
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
            and (self.before is None or row.number < self.before)
        )


class Audit(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached in time."""

    async def add(self, entries: Sequence[AuditEntry]) -> None: ...

    async def find(self, query: AuditQuery) -> Sequence[AuditRow]:
        """Return the newest entries that are meant, newest first; with `before` of a lower number."""

    async def forget(self, before: datetime) -> None:
        """Remove entries that are older, and all but the newest MOST_ENTRIES."""
