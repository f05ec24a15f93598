"""What is put on it is worked off piece by piece, by a task that exists only while something waits."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Conveyor(Generic[_Item]):
    """Takes items at any time; from `begin` on `work` is called with one after the other.

    An idle one is a few words of memory: a queue, and a task that waits for it, are four kilobytes,
    and a master has thousands of them.
    """

    __slots__ = ("_failed", "_task", "_waiting", "_work")

    def __init__(self) -> None:
        self._waiting: deque[_Item] | None = None
        self._work: Callable[[_Item], Awaitable[None]] | None = None
        self._failed: Callable[[BaseException], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many wait; the one that is worked on is not among them."""
        return len(self._waiting) if self._waiting else 0

    def put(self, item: _Item) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(item)
        self._go_on()

    def take_while(self, fits: Callable[[_Item], bool]) -> list[_Item]:
        """Take what waits next, as far as it fits, for who is working on the one before."""
        taken: list[_Item] = []
        while self._waiting and fits(self._waiting[0]):
            taken.append(self._waiting.popleft())
        return taken

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting = None

    def begin(
        self, work: Callable[[_Item], Awaitable[None]], failed: Callable[[BaseException], None]
    ) -> None:
        """Work off what waits and what will come. An error of `work` is told to `failed`, and is the end."""
        self._work, self._failed = work, failed
        self._go_on()

    async def end(self) -> None:
        """Work on nothing more; what is being worked on is cancelled."""
        self._work = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _go_on(self) -> None:
        if self._waiting and self._task is None and self._work is not None:
            self._task = asyncio.create_task(self._work_off())
            self._task.add_done_callback(self._rest)

    async def _work_off(self) -> None:
        while self._waiting and self._work is not None:
            await self._work(self._waiting.popleft())
        self._waiting = None

    def _rest(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if self._work is None or task.cancelled():
            return
        if (error := task.exception()) is None:
            self._go_on()
        elif self._failed is not None:
            self._work = None
            self._failed(error)
