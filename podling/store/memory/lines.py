"""Lines, in which pending tasks wait for their queue or their key."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from podling.core.task import Task
from podling.kit.clock import Clock
from podling.store.memory.tasks import TaskTable
from podling.store.ports.lines import Depths, Lines, Start


class LineTable(Lines):
    """See the port."""

    def __init__(self, clock: Clock, check_epoch: Callable[[int], None], tasks: TaskTable) -> None:
        self._clock = clock
        self._check_epoch = check_epoch
        self._tasks = tasks

    async def set_aside(self, lines: Mapping[str, str], epoch: int) -> None:
        self._check_epoch(epoch)
        self._tasks.pending.set_aside(lines)

    async def recall(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        self._check_epoch(epoch)
        return {line: self._tasks.pending.recall(line, room) for line, room in rooms.items()}

    async def heads(self, rooms: Mapping[str, int]) -> Sequence[Task]:
        return [task for line, room in rooms.items() for task in self._tasks.pending.heads(line, room)]

    async def firsts(self, after: str, limit: int) -> Mapping[str, Task]:
        return self._tasks.pending.firsts(after, limit)

    async def place(self, task_id: str, limit: int) -> tuple[str, int] | None:
        return self._tasks.pending.place_of(task_id, limit)

    async def depths(self, limit: int) -> Depths:
        return self._tasks.pending.depths(limit)

    async def starts(self, queues: Sequence[str] | None, seconds: float) -> Sequence[Start]:
        return self._tasks.starts_since(queues, self._clock.now() - timedelta(seconds=seconds))
