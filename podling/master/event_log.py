"""The newest of what was committed anywhere, kept for those who read events here.

Nobody has a queue of their own: whoever is slower than what is kept here reads on in the store.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from podling.core.errors import Unavailable
from podling.core.happened import Summary
from podling.core.task import Task
from podling.master.committer import Applied
from podling.store.base import ChangeBatch, Store

MOST_READERS = 100
MOST_CHANGES = 20_000
MOST_SUMMARIES = 20_000
PAGE = 100


class EventLog:
    """`tell` and `jump` are called by whoever follows the feed, batches in the order of their commits."""

    def __init__(self, store: Store, most_changes: int = MOST_CHANGES) -> None:
        self._store = store
        self._most_changes = most_changes
        self._batches: deque[ChangeBatch] = deque()
        self._changes = 0
        self._numbers: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._summaries: OrderedDict[str, Summary] = OrderedDict()
        self.readers = 0
        self.serial = 0  # of the batch that will come next

    def jump(self, numbers: Mapping[str, int]) -> None:
        """Go on after these batches: what was in between is in the store, if anywhere."""
        self._numbers = dict(numbers)
        self._forget()
        self.serial += 1
        self._wake()

    def tell(self, batches: Sequence[ChangeBatch]) -> None:
        """Take in what was committed; what is known already changes nothing."""
        news = [batch for batch in batches if batch.number > self._numbers.get(batch.master_id, 0)]
        self._numbers |= {batch.master_id: batch.number for batch in news}
        if not self.readers or not news:
            return
        for batch in news:
            self._batches.append(batch)
            self._changes += _size(batch)
        self.serial += len(news)
        while self._changes > self._most_changes:
            self._changes -= _size(self._batches.popleft())
        self._wake()

    def remember(self, applied: Sequence[Applied]) -> None:
        """Know the tasks that are about to be told of; a listener of the feed."""
        if self.readers:
            for change in applied:
                self._keep(change.after)

    def after(self, serial: int) -> list[ChangeBatch] | None:
        """Return the next batches from this one on; None if it is not here any more."""
        start = len(self._batches) - (self.serial - serial)
        return None if start < 0 else list(islice(self._batches, start, start + PAGE))

    async def wait(self, serial: int, seconds: float) -> bool:
        """Return True once there is more from this batch on, False after so many seconds without."""
        if serial != self.serial:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count a reader. Raises Unavailable if there are too many."""
        if self.readers >= MOST_READERS:
            raise Unavailable(
                f"{MOST_READERS} readers follow events here already; try again, or at another master",
                code="too_many_streams",
            )
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            if not self.readers:
                self._forget()
                self._summaries.clear()

    async def summaries(self, task_ids: Sequence[str]) -> Mapping[str, Summary]:
        """Return what is known of these tasks; those that have gone are left out."""
        if unknown := [task_id for task_id in dict.fromkeys(task_ids) if task_id not in self._summaries]:
            for task in (await self._store.load_tasks(unknown)).values():
                self._keep(task)
        found = {task_id: self._summaries.get(task_id) for task_id in task_ids}
        return {task_id: summary for task_id, summary in found.items() if summary is not None}

    def _keep(self, task: Task) -> None:
        if task.task_id in self._summaries:
            return
        spec = task.spec
        self._summaries[task.task_id] = Summary(name=spec.name, queue=spec.queue, labels=spec.labels)
        if len(self._summaries) > MOST_SUMMARIES:
            self._summaries.popitem(last=False)

    def _forget(self) -> None:
        self._batches.clear()
        self._changes = 0

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _size(batch: ChangeBatch) -> int:
    """A batch without changes takes room too."""
    return 1 + len(batch.changes) + len(batch.nodes)
