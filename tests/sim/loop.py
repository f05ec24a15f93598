"""An event loop whose time jumps from timer to timer, and in which only the seed decides who is next.

Programs run interleaved: each is a `Process`, which runs its own callbacks in their order, may be
paused like by SIGSTOP, and dies like by SIGKILL: between two callbacks, so at any await, without
one more line of its code being run.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any

MOST_AT_ONE_MOMENT = 20_000  # callbacks; more of them wait for each other without any time passing
ROUNDS_TO_END = 20
TICK_SECONDS = 1e-6  # no wait is shorter, so that time passes however small the rest of it


class Process:
    """What pauses and dies as one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []  # kept: nobody cleans up after a kill -9
        self.most_tasks = 100  # until those that are done are dropped
        self.fuse: int | None = None  # callbacks until `burnt` is called
        self.burnt: Callable[[], None] = lambda: None


_owner: ContextVar[Process | None] = ContextVar("owner", default=None)


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """Hashed by its number, so that sets of tasks have the same order in every run."""

    def __init__(self, number: int, *arguments: Any, **named: Any) -> None:
        self.number = number
        super().__init__(*arguments, **named)

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future):  # type: ignore[type-arg]
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.AbstractEventLoop):
    """`advance` is one step; what nobody caught goes to `on_error`."""

    def __init__(self, chance: random.Random, on_error: Callable[[str, BaseException | None], None]) -> None:
        self._chance = chance
        self._on_error = on_error
        self._now = 0.0
        self._numbers = count(1)
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._busy: list[Process] = []
        self._processes: dict[Process, None] = {}
        self.nature = Process("nature")  # networks, disks, engines: what goes on when programs do not

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._put(context.get(_owner) or self.nature, handle)
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        due = max(when, self._now + TICK_SECONDS)
        heappush(self._timers, (due, next(self._numbers), handle, context.get(_owner) or self.nature))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def create_future(self) -> "asyncio.Future[Any]":
        return _Future(next(self._numbers), loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        task = _Task(next(self._numbers), coro, loop=self, name=name or "-", context=context)
        self._keep(task, (_owner.get() if context is None else context.get(_owner)) or self.nature)
        return task

    def _keep(self, task: "asyncio.Task[Any]", process: Process) -> None:
        self._processes[process] = None
        process.tasks.append(task)
        if len(process.tasks) >= process.most_tasks:
            process.tasks = [one for one in process.tasks if not one.done()]
            process.most_tasks = 2 * len(process.tasks) + 100

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._on_error(str(context.get("message")), context.get("exception"))

    # Programs

    def context_of(self, process: Process) -> Context:
        context = copy_context()
        context.run(_owner.set, process)
        return context

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run the coroutine as a part of this program."""
        return self.create_task(work, context=self.context_of(process))

    def later(self, delay: float, callback: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """Call it after the delay, whatever programs do meanwhile."""
        context = copy_context()
        context.run(_owner.set, self.nature)
        return self.call_later(delay, callback, *args, context=context)

    def kill(self, process: Process) -> None:
        process.alive = False
        if process in self._busy:
            self._busy.remove(process)

    def pause(self, process: Process) -> None:
        process.paused = True
        if process in self._busy:
            self._busy.remove(process)

    def resume(self, process: Process) -> None:
        process.paused = False
        if process.alive and process.ready:
            self._busy.append(process)

    # Running

    @contextmanager
    def running(self) -> Iterator[None]:
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def advance(self) -> bool:
        """Go to the next timer and run all that follows from it at that moment; False without one."""
        self._run_ready()
        while self._timers:
            when, _, handle, process = heappop(self._timers)
            if handle.cancelled() or not process.alive:
                continue
            self._now = max(self._now, when)
            self._put(process, handle)
            if not process.paused:
                self._run_ready()
                return True
        return False

    def _put(self, process: Process, handle: asyncio.Handle) -> None:
        if not process.ready and not process.paused and process.alive:
            self._busy.append(process)
        process.ready.append(handle)

    def _run_ready(self) -> None:
        for _ in range(MOST_AT_ONE_MOMENT):
            if not self._busy:
                return
            index = int(self._chance.random() * len(self._busy)) if len(self._busy) > 1 else 0
            process = self._busy[index]
            handle = process.ready.popleft()
            if not process.ready:
                del self._busy[index]
            if not handle.cancelled():
                handle._run()
                self._burn(process)
        raise AssertionError(f"{self._busy} never come to rest")

    def _burn(self, process: Process) -> None:
        if process.fuse is None:
            return
        process.fuse -= 1
        if process.fuse <= 0:
            process.fuse = None
            process.burnt()

    def end(self) -> None:
        """Clean up after the dead and the living, so that nothing is left to be collected later."""
        for process in self._processes:
            process.alive, process.paused, process.fuse = True, False, None
        self._busy = [process for process in self._processes if process.ready]
        for _ in range(ROUNDS_TO_END):
            left = [task for process in self._processes for task in process.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            self._run_ready()


def run_at_once(call: Awaitable[Any]) -> Any:
    """Return what a coroutine that never waits returns."""
    iterator = call.__await__()
    try:
        next(iterator)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")
