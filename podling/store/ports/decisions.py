"""The port of recorded refusals."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from podling.core.decision import Decision
from podling.core.value import value
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten


@value
class DecisionQuery:
    """Newest first by (at, decision_id); `after` is the last seen."""

    task_id: str | None = None
    code: str | None = None
    at_door: bool = False
    after: tuple[datetime, str] | None = None
    limit: int = 500


class Decisions(Protocol):
    """Each method raises StoreUnavailable when the store cannot be reached in time."""

    async def record(self, decisions: Sequence[Decision]) -> None:
        """Add to what is there: equal ids are one record, with the sum of counts and the last words."""

    async def find(self, query: DecisionQuery) -> Sequence[Decision]: ...

    async def prune(self, before: datetime, most: int, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        """Remove those last decided before that moment, and the oldest beyond so many.

        After `seconds` the rest is left for another call.
        """
