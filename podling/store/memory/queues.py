"""Queues and what operators say about them."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from podling.core.queue import UNLIMITED, Queue, QueuePolicy, with_pause
from podling.store.ports.queues import Queues


class QueueTable(Queues):
    """See the port. `call` tells masters."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._policies: dict[str, QueuePolicy] = {}

    async def declare(self, names: Sequence[str]) -> None:
        for name in names:
            self._policies.setdefault(name, UNLIMITED)

    async def save(self, name: str, policy: QueuePolicy, paused: bool | None = None) -> bool:
        known = self._policies.get(name)
        was_paused = known is not None and known.paused
        self._policies[name] = with_pause(policy, was_paused if paused is None else paused)
        self._call()
        return known is None

    async def pause(self, name: str, paused: bool) -> bool:
        known = self._policies.get(name)
        if known is None:
            return False
        self._policies[name] = with_pause(known, paused)
        self._call()
        return True

    async def remove(self, name: str) -> bool:
        removed = self._policies.pop(name, None) is not None
        self._call()
        return removed

    async def known(self, names: Sequence[str]) -> AbstractSet[str]:
        return self._policies.keys() & set(names)

    async def get(self, name: str) -> Queue | None:
        policy = self._policies.get(name)
        return None if policy is None else Queue(name=name, policy=policy)

    async def find(self, after: str = "", limit: int = 500) -> Sequence[Queue]:
        names = sorted(name for name in self._policies if name > after)[:limit]
        return [Queue(name=name, policy=self._policies[name]) for name in names]

    async def policies(self) -> Mapping[str, QueuePolicy]:
        return {name: policy for name, policy in self._policies.items() if policy != UNLIMITED}
