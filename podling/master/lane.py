"""One of a master's lanes of batches: numbered, each sent when the one before it has been answered."""

import asyncio
from collections.abc import Iterable, Sequence

from podling.core.node import NodeChange
from podling.core.task import Task
from podling.core.workflow import Workflow
from podling.kit.clock import Clock
from podling.store.base import Batch, Store, TaskWrite, WriteResult


class CommitLane:
    """`turn` is held by whoever sends, so that numbers reach the store in their order.

    Everybody who follows the feed reads each lane up to a number: what came later under a smaller
    one would be missed. Different lanes owe each other no order.
    """

    def __init__(self, store: Store, clock: Clock, lane_id: str) -> None:
        self.lane_id = lane_id
        self.turn = asyncio.Lock()
        self.in_flight: int | None = None  # the number that the store has not answered yet
        self._store = store
        self._clock = clock
        self._number = 1  # of the next batch
        self._in_doubt = False  # the store did not answer to that number before
        self._overtaken: dict[str, int] = {}  # while a batch is in flight, or was last
        self._unsure: set[int] = set()  # such numbers, until the feed has told what became of them

    async def commit(
        self,
        writes: tuple[TaskWrite, ...],
        epoch: int | None,
        nodes: tuple[NodeChange, ...] = (),
        workflow: Workflow | None = None,
    ) -> Sequence[WriteResult]:
        """Have the store write the next batch. Raises StoreUnavailable, StaleEpoch, InvalidInput."""
        await self._close_doubt()
        try:
            results = await self._send(writes, epoch, nodes, workflow)
        except Exception:
            self._in_doubt = True
            self._unsure.add(self._number)
            raise
        self._number += 1
        return results

    async def settle_doubt(self) -> None:
        """See to it that what was unsure is in the feed, or never will be. Raises StoreUnavailable."""
        async with self.turn:
            await self._close_doubt()

    def overtake(self, tasks: Iterable[Task]) -> None:
        """Know that these are told already, by whoever changed them after what is in flight."""
        if self.in_flight is not None:
            self._overtaken |= {task.task_id: task.version for task in tasks}

    def is_overtaken(self, task: Task) -> bool:
        """Whether a later change of the task was told before the answer to the last batch came."""
        return task.version < self._overtaken.get(task.task_id, 0)

    @property
    def is_unsure(self) -> bool:
        """Whether something may have been committed of which the view has not heard."""
        return bool(self._unsure)

    def was_unsure(self, number: int) -> bool:
        """Whether it was not known if this batch was written."""
        return number in self._unsure

    def now_known(self, number: int) -> None:
        """The view has learned what was changed by the batches up to this one."""
        self._unsure = {unsure for unsure in self._unsure if unsure > number}

    async def _close_doubt(self) -> None:
        """Use up a number of unknown outcome, so that its batch is in the store now, or never will be.

        If it came later than the next number, everybody who follows the feed would have missed it.
        """
        if self._in_doubt:
            await self._send((), None, ())
            self._in_doubt = False
            self._number += 1

    async def _send(
        self,
        writes: tuple[TaskWrite, ...],
        epoch: int | None,
        nodes: tuple[NodeChange, ...],
        workflow: Workflow | None = None,
    ) -> Sequence[WriteResult]:
        self.in_flight, self._overtaken = self._number, {}
        batch = Batch(
            master_id=self.lane_id,
            number=self._number,
            now=self._clock.now(),
            tasks=writes,
            epoch=epoch,
            nodes=nodes,
            workflow=workflow,
        )
        try:
            return await self._store.commit(batch)
        finally:
            self.in_flight = None
