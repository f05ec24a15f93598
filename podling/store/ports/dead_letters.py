"""Where the list of dead letters is kept. A commit adds to it, a replay's commit takes from it."""

from collections.abc import Sequence
from typing import Protocol

from podling.core.dead_letters import DeadLetter
from podling.core.page import Place
from podling.core.task import TaskEvent
from podling.core.value import value


@value
class DeadLetterQuery:
    """Filters are joined by and. Newest first by (at, task_id); `after` is the last seen."""

    queue: str | None = None
    reason: str | None = None
    error_code: str | None = None
    after: Place | None = None
    limit: int = 500

    def means(self, letter: DeadLetter) -> bool:
        """Whether the filters want this letter; its place is not looked at."""
        wanted = (self.queue, self.reason, self.error_code)
        found = (letter.queue, letter.reason, letter.error_code)
        return all(want in (None, have) for want, have in zip(wanted, found, strict=True))


class DeadLetters(Protocol):
    """Each method raises StoreUnavailable when the store cannot be reached in time."""

    async def find(self, query: DeadLetterQuery) -> Sequence[DeadLetter]: ...

    async def take_off(self, events: Sequence[TaskEvent]) -> frozenset[str]:
        """Take the tasks of these lines off the list; return the ids of those that were on it.

        The lines of those are appended in the same transaction, the others are left out.
        """
