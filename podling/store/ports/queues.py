"""The port of queues and what operators say about them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from podling.core.queue import Queue, QueuePolicy


class Queues(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached in time.

    Masters are told of what is saved, paused and removed (`Store.listen`), not of what is only declared.
    """

    async def declare(self, names: Sequence[str]) -> None:
        """Have queues of these names; those that are there stay as they are."""

    async def save(self, name: str, policy: QueuePolicy, paused: bool | None = None) -> bool:
        """Declare the queue or replace its policy; return whether it is new.

        Whether it is paused is said by `paused`, never by the policy; None leaves it as it is.
        """

    async def pause(self, name: str, paused: bool) -> bool:
        """Pause the queue, or let it go on; False if there is none of that name."""

    async def remove(self, name: str) -> bool:
        """Have no such queue and no policy of it; False if there is none. Its tasks stay."""

    async def known(self, names: Sequence[str]) -> AbstractSet[str]:
        """Return which of these are on record."""

    async def get(self, name: str) -> Queue | None: ...

    async def find(self, after: str = "", limit: int = 500) -> Sequence[Queue]:
        """Return queues in the order of their names, from after that name."""

    async def policies(self) -> Mapping[str, QueuePolicy]:
        """Return the policies of queues about which anything was said."""
