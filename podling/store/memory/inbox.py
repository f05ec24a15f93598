"""The inbox in memory: no program can reach it by SQL, and masters read it as they do the other one."""

from collections.abc import Callable, Sequence
from itertools import count, islice

from podling.core.facts import InboxDepth
from podling.kit.clock import Clock
from podling.store.ports.inbox import Inbox, InboxItem, InboxKind

SENDER = "memory"


class InboxTable(Inbox):
    """See the port. `tell` wakes the masters."""

    def __init__(self, clock: Clock, tell: Callable[[], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._ids = count(1)
        self._items: dict[int, InboxItem] = {}

    async def put(self, kind: InboxKind, task_id: str, body: str) -> int:
        item = InboxItem(
            inbox_id=next(self._ids),
            kind=kind,
            task_id=task_id,
            body=body,
            sender=SENDER,
            received_at=self._clock.now(),
        )
        self._items[item.inbox_id] = item
        self._tell()
        return item.inbox_id

    async def page(self, after: int, limit: int, most_bytes: int) -> Sequence[InboxItem]:
        found: list[InboxItem] = []
        size = 0
        for item in islice((item for key, item in self._items.items() if key > after), limit):
            if size >= most_bytes:
                break
            size += len(item.body.encode())
            found.append(item)
        return found

    async def depth(self, limit: int) -> InboxDepth:
        times = [item.received_at for item in islice(self._items.values(), limit)]
        if not times:
            return InboxDepth()
        return InboxDepth(
            items=len(times), oldest_seconds=max(0.0, (self._clock.now() - min(times)).total_seconds())
        )

    async def remove(self, inbox_ids: Sequence[int]) -> None:
        coming = {item.task_id for item in self._items.values() if item.kind is InboxKind.SUBMIT}
        for inbox_id in inbox_ids:
            item = self._items.get(inbox_id)
            if item is not None and item.task_id not in coming:
                del self._items[inbox_id]

    def has(self, inbox_id: int) -> bool:
        return inbox_id in self._items

    def take(self, inbox_id: int) -> None:
        """Remove what has become a task."""
        del self._items[inbox_id]
