"""Where the audit is kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from podling.core.audit import AuditEntry
from podling.core.value import value

MOST_ENTRIES = 1_000_000
"""More are never kept for long, however young they are."""


@value
class AuditRow:
    number: int
    entry: AuditEntry


class Audit(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached in time."""

    async def add(self, entries: Sequence[AuditEntry]) -> None: ...

    async def page(self, limit: int, before: int | None = None) -> Sequence[AuditRow]:
        """Return the newest entries, newest first; with `before` those with a lower number."""

    async def forget(self, before: datetime) -> None:
        """Remove entries that are older, and all but the newest MOST_ENTRIES."""
