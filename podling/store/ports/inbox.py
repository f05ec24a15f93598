"""The port for what programs leave by SQL, in transactions of their own, until the leader takes it in."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from podling.core.facts import InboxDepth
from podling.core.value import value


class InboxKind(StrEnum):
    """`SUBMIT` has the body of `POST /tasks`; `END` what became of an attempt."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    END = "end"


@value
class InboxItem:
    """`body` is JSON as it came; `sender` the login that left it there."""

    inbox_id: int
    kind: InboxKind
    task_id: str
    body: str
    sender: str
    received_at: datetime


class Inbox(Protocol):
    """A part of `Store`. A task's insert takes its item out in the same commit, see `TaskWrite.inbox_id`.

    Each method raises StoreUnavailable when the store cannot be reached in time.
    """

    async def put(self, kind: InboxKind, task_id: str, body: str) -> int:
        """Leave something there, as a program would; return its id."""

    async def page(self, after: int, limit: int, most_bytes: int) -> Sequence[InboxItem]:
        """Return the first items with higher ids, in order, as far as they are not too large together.

        An id is given when something is left and seen when that is committed: what has a lower one may
        come later. Of items of one transaction none is seen before the others.
        """

    async def depth(self, limit: int) -> InboxDepth:
        """Count the items, up to so many of the first ones."""

    async def remove(self, inbox_ids: Sequence[int]) -> None:
        """Take items out, but those whose task is still there to be submitted."""
