"""The port of dependencies: which tasks wait for which, and how those have ended that they wait for.

What a task waits for is kept with it by its commit, and forgotten by the commit that lets it go or ends it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from podling.core.graph import Links


class Dependencies(Protocol):
    """A child waits for its parents.

    Every method raises StoreUnavailable when the store cannot be reached in time, and those that take an
    `epoch` raise StaleEpoch.
    """

    async def note_ends(self, parent_ids: Sequence[str], limit: int, epoch: int) -> Sequence[str]:
        """Note of these parents how they have ended, those that have, for up to `limit` of their children.

        Returns the children, a child once for every parent; as many as `limit` means that there may be more.
        """

    async def note_ends_for(self, child_ids: Sequence[str], limit: int, epoch: int) -> int:
        """Note for these children how their parents ended, or are gone; return how many, up to `limit`."""

    async def links(self, child_ids: Sequence[str]) -> Mapping[str, Sequence[Links]]:
        """Return how the parents of those of these tasks stand that wait, as far as it was noted."""

    async def waiting(self, after: str, limit: int) -> Sequence[str]:
        """Return tasks that wait for their parents, in the order of their ids, from after that one."""
