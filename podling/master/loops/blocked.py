"""The shapes that have tasks out of the ready order, and how those come back when there is room."""

from collections.abc import Iterable, Mapping, Sequence

from podling.core.task import Task
from podling.core.value import value
from podling.master.context import MasterContext

MOST_UNBLOCKED = 1000  # in one pass, or one of each shape if there are more shapes: one write of the leader's
LEARN_SECONDS = 10.0


@value
class Unblocked:
    """`has_more`: there may be room for more than one pass puts back."""

    tasks: int = 0
    has_more: bool = False


class BlockedShapes:
    """What is known of them may be too much, never too little for long: the store is asked now and then."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._full: frozenset[str] = frozenset()  # those for which there was no room at the last look
        self._known: set[str] = set()
        self._news: set[str] = set()  # known since the store was last asked
        self._epoch: int | None = None
        self._learned_at = 0.0

    @property
    def are_known(self) -> bool:
        """Whether anybody may be out of the ready order."""
        return bool(self._known)

    async def learn(self) -> None:
        """Know what the store has: from the last leader, or from a write whose answer was lost."""
        now = self._context.clock.monotonic()
        if self._epoch == self._context.epoch and now - self._learned_at < LEARN_SECONDS:
            return
        self._epoch, epoch = None, self._context.epoch
        firsts = await self._context.store.blocked_shapes()
        for task in firsts:
            self._context.view.requirement(task)
        self._known = {task.shape for task in firsts}
        self._epoch, self._learned_at = epoch, now

    def know(self, shape: str) -> None:
        """A task of this shape was blocked when it was submitted."""
        self._known.add(shape)
        self._news.add(shape)

    async def block(self, tasks: Sequence[Task]) -> int:
        """Take the tasks out of the ready order; return how many."""
        if not tasks or self._context.epoch is None:
            return 0
        for task in tasks:
            self.know(task.shape)  # before it is asked: the answer may be lost
        self._full |= {task.shape for task in tasks}
        self._context.full_for |= self._full
        await self._context.store.block([task.task_id for task in tasks], self._context.epoch)
        return len(tasks)

    def fill(self, shapes: Iterable[str] = ()) -> None:
        """Have more of these, and of the shapes for which there was no room, blocked from the start."""
        if self._context.leads:
            self._context.full_for = self._full.union(shapes)

    async def unblock(self) -> Unblocked:
        """Put back as many of each shape as there is room for, the first ones first.

        For the others the cluster is full: more of them are blocked from the start.
        """
        if self._context.epoch is None:
            return Unblocked()
        share = max(1, MOST_UNBLOCKED // max(1, len(self._known)))
        asked = self._known | self._context.full_for
        all_rooms = self._rooms(asked, share)
        self._context.full_for = frozenset(asked - all_rooms.keys())
        self._full = self._context.full_for & self._known
        rooms = {shape: room for shape, room in all_rooms.items() if shape in self._known}
        if not rooms:
            return Unblocked()
        self._news.clear()
        found = await self._context.store.unblock(rooms, self._context.epoch)
        emptied = {shape for shape, room in rooms.items() if found.get(shape, 0) < room}
        self._known -= emptied - self._news  # one that came meanwhile is there still
        return Unblocked(tasks=sum(found.values()), has_more=share in found.values())

    def _rooms(self, shapes: Iterable[str], most: int) -> Mapping[str, int]:
        view, now = self._context.view, self._context.clock.monotonic()
        rooms = {shape: view.room_for(shape, now, most) for shape in sorted(shapes)}
        return {shape: room for shape, room in rooms.items() if room}
