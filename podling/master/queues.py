"""What operators say about queues, as this master knows it."""

import asyncio
from collections.abc import Callable, Mapping

from podling.core.queue import QueuePolicy
from podling.core.traffic import Rules
from podling.store.ports.queues import Queues

MOST_KNOWN = 100_000


class QueueBook:
    """`learn` is called when another master has written, and now and then.

    Listeners are called when something is said otherwise than before.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self.rules = Rules({})
        self._declared: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self._turn = asyncio.Lock()

    @property
    def policies(self) -> Mapping[str, QueuePolicy]:
        """Queues about which anything was said, and `*` if anything was said of that."""
        return self.rules.policies

    @property
    def of_all(self) -> QueuePolicy:
        """Return what holds for all queues together."""
        return self.rules.of_all

    def of(self, name: str) -> QueuePolicy:
        """Return what holds for the queue; that of all together beside it is `of_all`."""
        return self.rules.of(name)

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def learn(self) -> None:
        """Know what the store has. Raises StoreUnavailable."""
        async with self._turn:  # or an older answer could come last
            found = await self._queues.policies()
            await self._forget_removed()
            if found != self.policies:
                self.rules = Rules(found)
                for listener in self._listeners:
                    listener()

    async def _forget_removed(self) -> None:
        """Have their next task declare them again."""
        if asked := frozenset(self._declared):
            self._declared -= asked - await self._queues.known(sorted(asked))

    async def start_over(self) -> None:
        """Know nothing of what the store had before it was restored."""
        self._declared.clear()
        await self.learn()

    def is_declared(self, name: str) -> bool:
        """Whether the queue is known to be on record."""
        return name in self._declared

    async def declare(self, name: str) -> None:
        """Have the queue on record before its first task. Raises StoreUnavailable."""
        await self._queues.declare([name])
        if len(self._declared) >= MOST_KNOWN:
            self._declared.clear()
        self._declared.add(name)
