"""The port of lines: where pending tasks wait for their queue or their key, out of the ready order."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from podling.core.task import Task
from podling.core.value import value


@value
class Start:
    """An attempt that was given to a node at this moment."""

    queue: str
    task_id: str
    attempt: int
    at: datetime


@value
class Depths:
    """How many tasks are due and wait, by queue. Not `whole`: only so many were looked at."""

    queues: Mapping[str, int]
    whole: bool = True


class Lines(Protocol):
    """A line is a name. A task in one is pending, due, and leaves it when it is written or recalled.

    Every method raises StoreUnavailable when the store cannot be reached in time, and those that take an
    `epoch` raise StaleEpoch.
    """

    async def set_aside(self, lines: Mapping[str, str], epoch: int) -> None:
        """Have each pending task (by id) wait in the line that is named."""

    async def recall(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        """Make the first tasks of each line ready, in claim order, up to the number given.

        Returns how many were found, by line; a line without any may be left out.
        """

    async def heads(self, rooms: Mapping[str, int]) -> Sequence[Task]:
        """Return the first tasks of each line, in claim order within it, up to the number given."""

    async def firsts(self, after: str, limit: int) -> Mapping[str, Task]:
        """Return lines in the order of their names, from after that one, each with its first task."""

    async def place(self, task_id: str, limit: int) -> tuple[str, int] | None:
        """Return in which line the task waits and how many are before it, up to `limit`; None if in none."""

    async def depths(self, limit: int) -> Depths:
        """Count the pending tasks that are due by queue, up to `limit` each of those that are ready, blocked
        and in lines.
        """

    async def starts(self, queues: Sequence[str] | None, seconds: float) -> Sequence[Start]:
        """Return attempts that were given to nodes in the last seconds, some older too, of these queues.

        None: of all queues.
        """
