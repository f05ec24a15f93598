"""Plain processes on the worker's machine, spawned and waited for by the keeper."""

import asyncio
import os
import signal as signals
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord
from podling.core.retry import ErrorCode
from podling.core.spec import CPU, MEMORY
from podling.worker.runtime.base import Condition, ContainerWork, Found, Observer
from podling.worker.runtime.process_keeper import KeeperLine
from podling.worker.runtime.process_output import Output
from podling.worker.runtime.process_user import identity

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONGEST_NAME = 240  # bytes; the system's 255 less what is put behind it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONDITIONS = {"running": Condition.RUNNING, "exited": Condition.EXITED}


class ProcessRuntime:
    """The port `Runtime` for processes; the container's id is its name.

    `data_dir` belongs to this worker alone. `linger_seconds`: how long the keeper stays when it has
    neither processes nor a worker.
    """

    name = "process"
    knows_every_start = True  # the keeper's intent is durable; a preparation leaves nothing
    answers_at_once = False
    log_limit = None

    def __init__(
        self, data_dir: Path, *, allow_root_processes: bool = False, linger_seconds: float = 60.0
    ) -> None:
        self._allow_root = allow_root_processes
        self._line = KeeperLine(data_dir, linger_seconds, self._on_processes, self._on_ended)
        self._output = Output(data_dir)
        self._works: dict[str, tuple[ContainerWork, dict[str, Any]]] = {}
        self._known: dict[str, Found] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def open(self, observer: Observer) -> None:
        self._tell = observer
        self._output.open()
        await self._line.open()

    async def close(self) -> None:
        await self._line.close()
        self._output.close()

    async def check(self) -> str | None:
        return self._line.problem

    def detected_capacity(self) -> Mapping[str, int]:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return {CPU: len(os.sched_getaffinity(0)) * 1000, MEMORY: memory}

    async def machine_host(self) -> str:
        """Return the address of this machine for its own processes."""
        return "127.0.0.1"

    async def inventory(self) -> Sequence[Found]:
        answer = await self._line.ask({"do": "list"})
        return [_found(process) for process in answer["processes"]]

    async def prepare(self, work: ContainerWork) -> Found:
        name = work.engine_name
        _refuse_unless_plain(name)
        self._works[name] = (work, await self._specification(work))
        return self._known.get(name) or _created(work)

    async def _specification(self, work: ContainerWork) -> dict[str, Any]:
        spec = work.container
        argv = [*spec.command, *spec.args]
        if not argv:
            raise RuntimeFailure("A process needs a command.", code=ErrorCode.CREATE)
        who = await identity(spec.user, allow_root=self._allow_root)
        environment = {"PATH": DEFAULT_PATH, "HOME": who.home, **work.full_environment()}
        return {
            "argv": argv,
            "env": environment,
            "cwd": spec.working_dir or "/",
            "uid": who.uid,
            "gid": who.gid,
            "groups": who.groups,
        }

    async def start(self, container_id: str) -> Found:
        known = self._known.get(container_id)
        if known is not None and known.condition is not Condition.CREATED:
            return known
        if container_id not in self._works:
            raise RuntimeFailure("The process was never prepared.", code=ErrorCode.START)
        work, specification = self._works.pop(container_id)
        request = {
            "do": "spawn",
            "id": container_id,
            "task": work.task_id,
            "attempt": work.attempt,
            "container": work.container.name,
            "spec": specification,
        }
        return self._spawned((await self._line.ask(request))["process"])

    async def restart(self, container_id: str) -> Found:
        answer = await self._line.ask({"do": "respawn", "id": container_id})
        return self._spawned(answer["process"])

    def _spawned(self, process: Mapping[str, Any]) -> Found:
        """Take over a start, unless its end was told before the answer was read."""
        found = _found(process)
        known = self._known.get(found.container_id)
        if known is None or known.started_at != found.started_at:
            self._known[found.container_id] = known = found
        return known

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        request = {"do": "stop", "id": container_id, "grace": grace_seconds}
        await self._line.ask({**request, "signal": signal_number(signal or "SIGTERM")})

    async def remove(self, container_id: str) -> None:
        self._works.pop(container_id, None)
        await self._line.ask({"do": "forget", "id": container_id})
        self._known.pop(container_id, None)
        self._output.forget(container_id)

    def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        ended = self._end_of(container_id) if follow else None
        return self._output.read(container_id, since=since, ended=ended)

    def _end_of(self, container_id: str) -> asyncio.Event:
        known = self._known.get(container_id)
        if known is not None and known.condition is Condition.RUNNING:
            return self._ends.setdefault(container_id, asyncio.Event())
        ended = asyncio.Event()
        ended.set()
        return ended

    # What the keeper says

    def _on_processes(self, processes: Sequence[Mapping[str, Any]]) -> None:
        """The line was made, or made anew: tell the ends that happened meanwhile."""
        for process in processes:
            found = _found(process)
            before = self._known.get(found.container_id)
            self._known[found.container_id] = found
            if found.condition is Condition.EXITED and before is not None and before != found:
                self._ended(found)

    def _on_ended(self, process: Mapping[str, Any]) -> None:
        found = _found(process)
        self._known[found.container_id] = found
        self._ended(found)

    def _ended(self, found: Found) -> None:
        if (ended := self._ends.pop(found.container_id, None)) is not None:
            ended.set()
        self._tell(found)


def signal_number(name: str) -> int:
    """Return the number of `SIGTERM`, `TERM` or `15`. Raises RuntimeFailure for no signal."""
    if name.isdecimal() and int(name) in signals.valid_signals():
        return int(name)
    try:
        return signals.Signals["SIG" + name.upper().removeprefix("SIG")].value
    except KeyError:
        raise RuntimeFailure(f"There is no signal {name}.", code=ErrorCode.CREATE) from None


def _refuse_unless_plain(name: str) -> None:
    """The name becomes the beginning of files' names."""
    if not name or "/" in name or "\0" in name or len(os.fsencode(name)) > LONGEST_NAME:
        raise RuntimeFailure(f"{name!r} cannot be the name of a process.", code=ErrorCode.CREATE)


def _created(work: ContainerWork) -> Found:
    return Found(
        engine_name=work.engine_name,
        container_id=work.engine_name,
        task_id=work.task_id,
        attempt=work.attempt,
        container_name=work.container.name,
        condition=Condition.CREATED,
    )


def _found(process: Mapping[str, Any]) -> Found:
    return Found(
        engine_name=process["id"],
        container_id=process["id"],
        task_id=process["task"],
        attempt=process["attempt"],
        container_name=process["container"],
        condition=_CONDITIONS.get(process["state"], Condition.CREATED),
        started_at=_instant(process["started"]),
        finished_at=_instant(process["finished"]),
        exit_code=process["code"],
        error_code=process["error_code"],
        error=process["error"],
    )


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
