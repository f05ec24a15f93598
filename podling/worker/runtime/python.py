"""Functions that are registered by job type, run in a few long-lived processes of the worker.

They end with the worker, however it ends. A process that dies fails what ran in it, and is replaced.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from podling.core.agent_restore import LEFT_SENTENCE
from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord
from podling.core.retry import ErrorCode
from podling.core.value import changed, value
from podling.worker.machine import detect_machine
from podling.worker.runtime.base import Condition, ContainerWork, Found, Observer, Speech
from podling.worker.runtime.python_child import Child, Modules, Offer, ending
from podling.worker.runtime.python_logs import FunctionLogs

READY_SECONDS = 10.0
AGAIN_SECONDS = 1.0
LEAST_GRACE_SECONDS = 0.1  # even what is killed is told first
KILLED = 137

_log = logging.getLogger(__name__)


@value
class _Run:
    """A function that runs: where, as what, and what has come over it."""

    name: str
    number: int
    child: Child
    offer: Offer


class PythonRuntime:
    """The port `Runtime` for functions; the container's id is its name.

    `data_dir` belongs to this worker alone. `slots`: how many functions run at a time at most.
    """

    name = "python"
    place = "handler"
    """What a task names that has to be here, and has so many places."""
    code_of_missing = ErrorCode.UNKNOWN_JOB_TYPE
    directory = "functions"
    knows_every_start = False
    log_limit = None

    def __init__(
        self,
        cluster_id: str,
        data_dir: Path,
        modules: Sequence[str],
        *,
        processes: int,
        slots: int,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._prefix = f"podling-{cluster_id}-"
        directory = data_dir / self.directory
        self._modules = Modules(names=tuple(modules), logs=directory, threads=slots, environment=environment)
        self._processes = processes
        self._slots = slots
        self._logs = FunctionLogs(directory)
        self._offers: Mapping[str, Offer] = {}
        self._children: list[Child] = []
        self._ready = asyncio.Event()
        self._problem: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._works: dict[str, ContainerWork] = {}
        self._known: dict[str, Found] = {}
        self._runs: dict[str, _Run] = {}
        self._names: dict[int, str] = {}
        self._busy: Counter[str] = Counter()
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}
        self._timed_out: set[str] = set()
        self._number = 0
        self._speech: Speech | None = None

    async def open(self, observer: Observer) -> None:
        self._tell = observer
        self._loop = asyncio.get_running_loop()
        self._logs.open(self._prefix)
        self._known = {name: _left(name, self._prefix) for name in self._logs.there}
        begun = (self._begin_child() for _ in range(self._processes))
        for failure in await asyncio.gather(*begun, return_exceptions=True):
            if failure is not None:
                await self.close()
                raise failure

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in list(self._timers):
            self._end_timers(name)
        children, self._children = self._children, []
        await asyncio.gather(*(child.close() for child in children))

    @property
    def answers_at_once(self) -> bool:
        return bool(self._children)

    async def check(self) -> str | None:
        return None if self._children else self._problem

    async def machine_host(self) -> str:
        """Return the address of this machine for its own processes."""
        return "127.0.0.1"

    def speak_by(self, speech: Speech) -> None:
        """Have functions speak to their cluster by this."""
        self._speech = speech
        for child in self._children:
            child.tell(speech)

    def detected_capacity(self) -> Mapping[str, int]:
        return detect_machine()

    async def inventory(self) -> Sequence[Found]:
        return list(self._known.values())

    # Processes

    async def _begin_child(self) -> None:
        child = Child(self._on_end, self._on_grown, self._on_gone)
        self._offers = await child.begin(self._modules)
        if self._speech is not None:
            child.tell(self._speech)
        self._children.append(child)
        self._problem = None
        self._ready.set()

    def _on_gone(self, child: Child, status: int) -> None:
        if child not in self._children:
            return  # it never came so far
        self._children.remove(child)
        self._problem = f"A process of functions ended ({ending(status)})."
        if not self._children:
            self._ready.clear()
        _log.warning("%s %d functions ran in it.", self._problem, len(child.running))
        for name in [self._names[number] for number in sorted(child.running)]:
            self._logs.look(name)
            self._ended(name, *self._fate(name, child, status))
        self._spawn(self._replace())

    def _fate(self, name: str, child: Child, status: int) -> tuple[str | None, str | None, int | None]:
        """Return code, sentence and exit code of what ran in a process that has ended."""
        if self._runs[name].number in child.stopping:
            return ErrorCode.CANCELLED, "it did not stop in time, so its process was ended", KILLED
        if child.doomed_by is not None:
            why = f"its process was ended because {child.doomed_by}, which ran in it too, did not stop"
            return ErrorCode.RUNTIME, why, None
        why = f"the process that ran it ended ({ending(status)})"
        others = len(child.running) - 1
        return ErrorCode.PANIC, f"{why}, and {others} others with it" if others else why, None

    async def _replace(self) -> None:
        """Bring the processes back to their number, however often it takes."""
        while True:
            try:
                return await self._begin_child()
            except RuntimeFailure as failure:
                self._problem = failure.message
                _log.error("functions: %s; trying again", failure.message)
            await asyncio.sleep(AGAIN_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # One function

    async def prepare(self, work: ContainerWork) -> Found:
        if work.handler not in self._offers:
            raise RuntimeFailure(
                f"This worker has no {self.place} {work.handler}.", code=self.code_of_missing
            )
        name = work.engine_name
        if name not in self._known:
            self._works[name] = work
            self._known[name] = _found(work)
        return self._known[name]

    async def start(self, container_id: str) -> Found:
        found = self._known.get(container_id)
        if found is None:
            raise RuntimeFailure("The function was never prepared.", code=ErrorCode.EXTERNAL)
        if found.condition is not Condition.CREATED:
            return found
        child = await self._choose()
        offer = self._place(container_id)
        return self._run(found, self._works.pop(container_id), offer, child)

    def _place(self, name: str) -> Offer:
        """Masters count places; this is for what they have given up and what has not ended here yet."""
        offer = self._offers[self._works[name].handler or ""]
        most = min(offer.concurrency or self._slots, self._slots)
        if self._busy[offer.name] >= most:
            problem = f"All {most} places of {self.place} {offer.name} are taken; it is tried again."
            raise RuntimeFailure(problem, code=ErrorCode.RUNTIME)
        return offer

    async def _choose(self) -> Child:
        try:
            if not self._children:
                async with asyncio.timeout(READY_SECONDS):
                    await self._ready.wait()
        except TimeoutError:
            raise RuntimeFailure(
                self._problem or "No process of functions is there.", code=ErrorCode.RUNTIME
            ) from None
        return min(self._children, key=lambda child: (bool(child.stopping), len(child.running)))

    def _run(self, found: Found, work: ContainerWork, offer: Offer, child: Child) -> Found:
        name, now = found.container_id, datetime.now(UTC)
        self._number += 1
        self._runs[name] = _Run(name=name, number=self._number, child=child, offer=offer)
        self._names[self._number] = name
        self._busy[offer.name] += 1
        found = self._known[name] = changed(found, condition=Condition.RUNNING, started_at=now)
        limits = [one for one in (offer.timeout_seconds, work.timeout_seconds) if one is not None]
        deadline = (now + timedelta(seconds=min(limits))).timestamp() if limits else None
        payload = orjson.Fragment(work.payload or b"null")
        child.start(self._number, (offer.name, work.task_id, work.attempt, name, deadline, payload))
        if offer.timeout_seconds is not None:
            grace = work.container.stop_grace_seconds
            self._set_timer(name, offer.timeout_seconds, self._time_out, name, grace)
        return found

    async def restart(self, container_id: str) -> Found:
        raise RuntimeFailure("A function is not run twice in one attempt.", code=ErrorCode.START)

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        if (run := self._runs.get(container_id)) is None:
            return
        run.child.cancel(run.number)
        self._set_timer(container_id, max(grace_seconds, LEAST_GRACE_SECONDS), self._kill, container_id)

    def _kill(self, name: str) -> None:
        run, task_id = self._runs[name], self._known[name].task_id
        _log.warning("ending a process of functions: task %s did not stop in time", task_id)
        run.child.doomed_by = run.child.doomed_by or f"task {task_id}"
        run.child.kill()

    def _time_out(self, name: str, grace_seconds: float) -> None:
        self._timed_out.add(name)
        run = self._runs[name]
        run.child.cancel(run.number)
        self._set_timer(name, max(grace_seconds, LEAST_GRACE_SECONDS), self._kill, name)

    def _set_timer(self, name: str, seconds: float, call: Any, *arguments: Any) -> None:
        timer = self._loop.call_later(seconds, call, *arguments)
        self._timers.setdefault(name, []).append(timer)

    def _end_timers(self, name: str) -> None:
        for timer in self._timers.pop(name, ()):
            timer.cancel()

    def _on_end(self, number: int, code: str | None, error: str | None) -> None:
        self._ended(self._names[number], code, error, 0 if code is None else None)

    def _ended(self, name: str, code: str | None, error: str | None, exit_code: int | None) -> None:
        run = self._runs.pop(name)
        del self._names[run.number]
        self._busy[run.offer.name] -= 1
        self._end_timers(name)
        if name in self._timed_out and code is not None:
            code = ErrorCode.TIMEOUT
            error = f"it ran longer than {run.offer.timeout_seconds:g} s, the timeout of its handler"
        self._timed_out.discard(name)
        found = self._known[name] = changed(
            self._known[name],
            condition=Condition.EXITED,
            finished_at=datetime.now(UTC),
            exit_code=exit_code,
            error_code=code,
            error=error,
            is_silent=name not in self._logs.there,
        )
        self._logs.tell(name)
        if found.is_silent:
            del self._known[name]  # nothing is left of it
        self._tell(found)

    async def remove(self, container_id: str) -> None:
        if container_id in self._runs:
            await self.stop(container_id, None, 0)
        else:
            self._known.pop(container_id, None)
            self._works.pop(container_id, None)
            self._logs.remove(container_id)

    # Logs

    def _on_grown(self, number: int) -> None:
        if (name := self._names.get(number)) is not None:
            self._logs.there.add(name)
            self._logs.tell(name)

    def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        return self._logs.read(container_id, since, lambda: container_id in self._runs, follow)


def _found(work: ContainerWork) -> Found:
    return Found(
        engine_name=work.engine_name,
        container_id=work.engine_name,
        task_id=work.task_id,
        attempt=work.attempt,
        container_name=work.container.name,
        condition=Condition.CREATED,
    )


def _left(name: str, prefix: str) -> Found:
    """Return what a worker before this one has left of an attempt: its log. The name tells the rest."""
    task_id, _, attempt = name.removeprefix(prefix).rpartition("-")
    return Found(
        engine_name=name,
        container_id=name,
        task_id=task_id,
        attempt=int(attempt),
        container_name="main",
        condition=Condition.EXITED,
        error_code=ErrorCode.EXTERNAL,
        error=LEFT_SENTENCE,
    )
