"""A runtime that runs nothing, for benchmarks of everything else.

A container ends after PODLING_SIMULATE_SECONDS (0) with PODLING_SIMULATE_EXIT_CODE (0) of its
environment. Its state is in memory alone: after a restart there is nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord
from podling.core.retry import ErrorCode
from podling.core.spec import CPU, MEMORY
from podling.worker.runtime.base import Condition, ContainerWork, Found, Observer

SECONDS = "PODLING_SIMULATE_SECONDS"
EXIT_CODE = "PODLING_SIMULATE_EXIT_CODE"
KILLED = 137
STOPPED = 143
CORES = 1_000
MEMORY_BYTES = 1 << 40


class SimulatedRuntime:
    """The port `Runtime` without anything behind it."""

    name = "simulated"
    knows_every_start = False
    answers_at_once = True
    log_limit = None

    def __init__(self) -> None:
        self._works: dict[str, ContainerWork] = {}
        self._known: dict[str, Found] = {}
        self._timers: dict[str, asyncio.Handle] = {}

    async def open(self, observer: Observer) -> None:
        self._tell = observer
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def check(self) -> str | None:
        return None

    def detected_capacity(self) -> Mapping[str, int]:
        return {CPU: CORES * 1000, MEMORY: MEMORY_BYTES}

    async def inventory(self) -> Sequence[Found]:
        return list(self._known.values())

    async def prepare(self, work: ContainerWork) -> Found:
        name = work.engine_name
        self._works[name] = work
        if name not in self._known:
            self._known[name] = Found(
                engine_name=name,
                container_id=name,
                task_id=work.task_id,
                attempt=work.attempt,
                container_name=work.container.name,
                condition=Condition.CREATED,
            )
        return self._known[name]

    async def start(self, container_id: str) -> Found:
        found = self._there(container_id)
        return found if found.condition is not Condition.CREATED else self._run(found)

    async def restart(self, container_id: str) -> Found:
        found = self._there(container_id)
        return found if found.condition is Condition.RUNNING else self._run(found)

    def _there(self, container_id: str) -> Found:
        found = self._known.get(container_id)
        if found is None:
            raise RuntimeFailure("The container is not there any more.", code=ErrorCode.EXTERNAL)
        return found

    def _run(self, found: Found) -> Found:
        seconds, exit_code = _plan(self._works[found.container_id])
        found = self._known[found.container_id] = replace(
            found,
            condition=Condition.RUNNING,
            started_at=datetime.now(UTC),
            finished_at=None,
            exit_code=None,
        )
        self._end_after(seconds, found.container_id, exit_code)
        return found

    def _end_after(self, seconds: float, container_id: str, exit_code: int) -> None:
        end = partial(self._end, container_id, exit_code)
        self._timers[container_id] = (
            self._loop.call_later(seconds, end) if seconds > 0 else self._loop.call_soon(end)
        )

    def _end(self, container_id: str, exit_code: int) -> None:
        del self._timers[container_id]
        found = self._known[container_id] = replace(
            self._known[container_id],
            condition=Condition.EXITED,
            finished_at=datetime.now(UTC),
            exit_code=exit_code,
        )
        self._tell(found)

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        timer = self._timers.get(container_id)
        if timer is not None:
            timer.cancel()
            self._end_after(0, container_id, STOPPED if grace_seconds > 0 else KILLED)

    async def remove(self, container_id: str) -> None:
        timer = self._timers.pop(container_id, None)
        if timer is not None:
            timer.cancel()
        self._works.pop(container_id, None)
        self._known.pop(container_id, None)

    async def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        self._there(container_id)
        nothing: tuple[LogRecord, ...] = ()
        for record in nothing:
            yield record


def _plan(work: ContainerWork) -> tuple[float, int]:
    """Return how long it takes and how it ends. Raises RuntimeFailure for what is no number."""
    environment = {**work.container.env, **work.environment}
    try:
        return float(environment.get(SECONDS, "0")), int(environment.get(EXIT_CODE, "0"))
    except ValueError as error:
        raise RuntimeFailure(f"{SECONDS} or {EXIT_CODE}: {error}.", code=ErrorCode.START) from None
