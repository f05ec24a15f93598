"""Where the audit is kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from podling.core.audit import AuditEntry, Outcome
from podling.core.value import value
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten

MOST_ENTRIES = 1_000_000
"""More are never kept for long, however young they are."""


@value
class AuditRow:
    """`number` tells entries of one moment apart; it grows as they arrive."""

    number: int
    entry: AuditEntry

    @property
    def place(self) -> tuple[datetime, int]:
        return self.entry.at, self.number


@value
class AuditQuery:
    """`since` is the first moment that is meant, `until` the first that is no more; `before` is a place."""

    actor: str | None = None
    method: str | None = None
    route: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, int] | None = None
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
            and (self.before is None or row.place < self.before)
        )


class Audit(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached in time."""

    async def add(self, entries: Sequence[AuditEntry]) -> None: ...

    async def find(self, query: AuditQuery) -> Sequence[AuditRow]:
        """Return the newest entries that are meant, newest first by (at, number); with `before`, from there.

        What another master writes late takes its place by time, for whoever has not come past that yet.
        """

    async def forget(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        """Remove entries that are older, and all but the newest MOST_ENTRIES.

        After `seconds` the rest is left for another call.
        """
