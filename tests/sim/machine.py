"""A machine: its clocks, its disk with the worker's journal, and its engine with containers.

All of it outlives the worker's program. Work says in its environment how long it takes
(SIM_SECONDS), how each attempt ends (SIM_EXITS), and whether it ignores TERM (SIM_STUBBORN).
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from podling.core.agent_events import JournalRow
from podling.core.errors import RuntimeFailure, Unavailable
from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.worker.runtime.base import Condition, ContainerWork, Found, Gone, Observer
from tests.sim.ledger import Ledger, Run
from tests.sim.loop import SimulatedLoop
from tests.sim.story import MachineClock, Story

TERMINATED, KILLED = 143, 137
HUNG = RuntimeFailure("the engine does not answer", code=ErrorCode.RUNTIME)


@dataclass(eq=False, slots=True)
class Container:
    found: Found
    work: ContainerWork
    runtime: str
    run: Run | None = None
    starts: int = 0
    end: asyncio.TimerHandle | None = None
    kill: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Machine:
    """`disk` and `meta` are the journal's tables; `problem` refuses its writes."""

    name: str
    loop: SimulatedLoop
    clock: MachineClock
    chance: random.Random
    story: Story
    ledger: Ledger
    boots: int = 1
    disk: dict[AttemptKey, JournalRow] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    problem: Unavailable | None = None
    disk_seconds: float = 0.0
    hangs: float = 0.0  # the share of the engine's calls that are not answered in time
    observers: dict[str, Observer] = field(default_factory=dict)
    made: int = 0

    def heal(self) -> None:
        self.problem = None
        self.disk_seconds = self.hangs = 0.0

    # What containers do

    def run(self, container: Container, *, again: bool = False) -> None:
        container.starts += 1
        container.run = self.ledger.start(
            Run(
                container.found.task_id,
                container.found.attempt,
                container.found.container_name,
                container.found.container_id,
                self.name,
                self.loop.time(),
            )
        )
        self.story.tell("runs", run=container.run)
        container.found = replace(
            container.found,
            condition=Condition.RUNNING,
            started_at=self.clock.now(),
            finished_at=None,
            exit_code=None,
        )
        env = container.work.container.env
        container.end = self.loop.later(float(env["SIM_SECONDS"]), self.exit, container, _code(container))

    def exit(self, container: Container, code: int) -> None:
        if container.run is None:
            return
        self._stop_timers(container)
        container.run.ended_at, container.run.exit_code = self.loop.time(), code
        self.story.tell("ends", run=container.run)
        container.run = None
        container.found = replace(
            container.found, condition=Condition.EXITED, finished_at=self.clock.now(), exit_code=code
        )
        self._tell(container.runtime, container.found)

    def terminate(self, container: Container, grace_seconds: float) -> None:
        if container.run is None:
            return
        if container.kill is not None:
            container.kill.cancel()
        container.kill = self.loop.later(grace_seconds, self.exit, container, KILLED)
        if "SIM_STUBBORN" not in container.work.container.env and grace_seconds > 0:
            self.loop.later(self.chance.random() * 0.3, self._obey, container, container.starts)

    def _obey(self, container: Container, start: int) -> None:
        if container.starts == start:
            self.exit(container, TERMINATED)

    def remove(self, container_id: str, *, by_hand: bool = False) -> None:
        container = self.containers.pop(container_id, None)
        if container is None:
            return
        if container.run is not None:
            self._stop_timers(container)
            container.run.ended_at = self.loop.time()
            container.run = None
        if by_hand:
            found = container.found
            gone = Gone(
                engine_name=found.engine_name,
                container_id=found.container_id,
                task_id=found.task_id,
                attempt=found.attempt,
                container_name=found.container_name,
            )
            self._tell(container.runtime, gone)

    def lose_power(self) -> None:
        """What ran has ended, and nobody knows how."""
        for container in self.containers.values():
            if container.run is not None:
                self._stop_timers(container)
                container.run.ended_at = self.loop.time()
                container.run = None
                container.found = replace(
                    container.found,
                    condition=Condition.EXITED,
                    exit_code=None,
                    error_code=ErrorCode.UNKNOWN_EXIT,
                    error="the machine lost its power",
                )
        self.boots += 1
        self.clock.boot()

    def lose_disk(self) -> None:
        self.disk.clear()
        self.meta.clear()

    def _stop_timers(self, container: Container) -> None:
        for timer in (container.end, container.kill):
            if timer is not None:
                timer.cancel()
        container.end = container.kill = None

    def _tell(self, runtime: str, told: Found | Gone) -> None:
        observer = self.observers.get(runtime)
        if observer is not None:
            times = 2 if self.chance.random() < 0.05 else 1
            for _ in range(times):
                self.loop.later(self.chance.random() * 0.02, self._tell_now, runtime, observer, told)

    def _tell_now(self, runtime: str, observer: Observer, told: Found | Gone) -> None:
        if self.observers.get(runtime) is observer:
            observer(told)


def _code(container: Container) -> int:
    codes = container.work.container.env["SIM_EXITS"].split(",")
    position = max(container.work.attempt, container.starts) - 1
    return int(codes[min(position, len(codes) - 1)])


class SimulatedEngine:
    """The port `Runtime`. A call reaches the engine, has its effect and is answered at three moments."""

    def __init__(self, name: str, machine: Machine, *, knows_every_start: bool) -> None:
        self.name = name
        self.knows_every_start = knows_every_start
        self.answers_at_once = False
        self.log_limit = None
        self._machine = machine

    async def open(self, observer: Observer) -> None:
        loop, context = self._machine.loop, copy_context()  # the program's own
        self._machine.observers[self.name] = lambda told: loop.call_soon(observer, told, context=context)

    async def close(self) -> None:
        self._machine.observers.pop(self.name, None)

    async def check(self) -> str | None:
        return "the engine does not answer" if self._machine.hangs else None

    def detected_capacity(self) -> Mapping[str, int]:
        return {}

    async def prepare(self, work: ContainerWork) -> Found:
        return await self._call(lambda: self._make(work))

    async def start(self, container_id: str) -> Found:
        return await self._call(lambda: self._run(container_id, again=False))

    async def restart(self, container_id: str) -> Found:
        return await self._call(lambda: self._run(container_id, again=True))

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        await self._call(lambda: self._machine.terminate(self._there(container_id), grace_seconds))

    async def remove(self, container_id: str) -> None:
        await self._call(lambda: self._remove(container_id))

    async def inventory(self) -> Sequence[Found]:
        return await self._call(
            lambda: [one.found for one in self._machine.containers.values() if one.runtime == self.name]
        )

    def _make(self, work: ContainerWork) -> Found:
        machine = self._machine
        for known in machine.containers.values():
            if known.work.engine_name == work.engine_name:
                return known.found
        row = machine.disk.get(AttemptKey(task_id=work.task_id, attempt=work.attempt))
        if row is None:
            machine.story.violation("I15", f"{work.engine_name} was made before its intent was on disk")
        machine.made += 1
        found = Found(
            engine_name=work.engine_name,
            container_id=f"{machine.name}-c{machine.made}",
            task_id=work.task_id,
            attempt=work.attempt,
            container_name=work.container.name,
            condition=Condition.CREATED,
        )
        machine.containers[found.container_id] = Container(found, work, self.name)
        return found

    def _run(self, container_id: str, *, again: bool) -> Found:
        container = self._there(container_id)
        if container.run is None and (again or container.found.condition is Condition.CREATED):
            self._machine.run(container, again=again)
        return container.found

    def _there(self, container_id: str) -> Container:
        container = self._machine.containers.get(container_id)
        if container is None:
            raise RuntimeFailure("The container is not there any more.", code=ErrorCode.EXTERNAL)
        return container

    def _remove(self, container_id: str) -> None:
        machine = self._machine
        container = machine.containers.get(container_id)
        if container is None:
            return
        found = container.found
        row = machine.disk.get(AttemptKey(task_id=found.task_id, attempt=found.attempt))
        if row is not None and not row.done and (row.final is None or container.run is not None):
            machine.story.violation("I16", f"{found.engine_name} was removed before its end was on disk")
        machine.remove(container_id)

    async def _call(self, effect: Callable[[], Any]) -> Any:
        machine = self._machine
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        machine.loop.later(0.001 + machine.chance.random() * 0.02, self._carry_out, effect, future)
        return await future

    def _carry_out(self, effect: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        machine = self._machine
        fate = machine.chance.random()
        if fate < machine.hangs / 2:
            machine.loop.later(machine.chance.random() * 2, _settle, future, None, HUNG)
            return
        try:
            answer, error = effect(), None
        except RuntimeFailure as failure:
            answer, error = None, failure
        if fate < machine.hangs:
            machine.story.fault(f"the engine of {machine.name} does not answer")
            machine.loop.later(machine.chance.random() * 2, _settle, future, None, HUNG)
        else:
            machine.loop.later(machine.chance.random() * 0.02, _settle, future, answer, error)


def _settle(future: "asyncio.Future[Any]", answer: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)
