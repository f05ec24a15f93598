"""How many submits of a queue were let in this minute, by all masters together."""

from typing import Protocol

from podling.core.value import value


@value
class Taken:
    """`granted` of what was wanted is left of the minute, which ends in so many seconds."""

    granted: int
    seconds_left: float


class SubmitCounts(Protocol):
    """Each method raises StoreUnavailable when the store cannot be reached in time.

    Minutes are those of the store's own clock, so that all masters mean the same.
    """

    async def take(self, queue: str, wanted: int, limit: int) -> Taken:
        """Count up to `wanted` submits more, and never above `limit` in one minute."""
