"""The port of queues and what operators say about them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from podling.core.queue import Queue, QueuePolicy


class Queues(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached in time.

    Masters are told of what is saved and paused (`Store.listen`), not of what is only declared.
    """

    async def declare(self, names: Sequence[str]) -> None:
        """Have queues of these names; those that are there stay as they are."""

    async def save(self, name: str, policy: QueuePolicy) -> bool:
        """Declare the queue or replace its policy, except whether it is paused; return whether it is new."""

    async def pause(self, name: str, paused: bool) -> bool:
        """Pause the queue, or let it go on; False if there is none of that name."""

    async def get(self, name: str) -> Queue | None: ...

    async def find(self, after: str = "", limit: int = 500) -> Sequence[Queue]:
        """Return queues in the order of their names, from after that name."""

    async def policies(self) -> Mapping[str, QueuePolicy]:
        """Return the policies of queues about which anything was said."""
