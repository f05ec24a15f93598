"""One process of functions, seen from the worker. See `python_host` for what they say to each other."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any

import orjson

import podling
from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode
from podling.core.value import value
from podling.worker.runtime.base import Speech

GREETING_SECONDS = 60.0  # modules may import what they like
LEAVE_SECONDS = 2.0
_KEPT = frozenset({"PODLING_MASTER_URL"})
_DATABASES = frozenset({"DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_READ_URL"})  # Podling's own


@value
class Offer:
    """A handler as its process tells it. `concurrency` None: as many as there are slots."""

    name: str
    concurrency: int | None
    timeout_seconds: float | None
    is_async: bool


@value
class Modules:
    """What each process is told: `names` to import, where logs lie, how many threads it may have.

    `environment` is put over the worker's own, and may hold secrets.
    """

    names: tuple[str, ...]
    logs: Path
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


OnEnd = Callable[[int, str | None, str | None], None]


class Child(asyncio.Protocol):
    """`running` are the numbers of what it runs; `doomed_by` names the task that it is killed for."""

    def __init__(
        self, on_end: OnEnd, on_grown: Callable[[int], None], on_gone: Callable[["Child", int], None]
    ) -> None:
        self.running: set[int] = set()
        self.stopping: set[int] = set()
        self.doomed_by: str | None = None
        self._on_end = on_end
        self._on_grown = on_grown
        self._on_gone = on_gone
        self._rest = b""
        self._unsent: list[bytes] = []
        self._closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        self._watching: asyncio.Task[None] | None = None

    async def begin(self, modules: Modules) -> Mapping[str, Offer]:
        """Start the process; return its handlers by name. Raises RuntimeFailure."""
        ours, its = socket.socketpair()
        with its:
            self._process = await asyncio.create_subprocess_exec(
                *_command(its.fileno(), modules),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                env={**_environment(), **modules.environment},
                start_new_session=True,
            )
        self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=ours)
        self._watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                told = await self._greeting
        except TimeoutError:
            self.kill()
            raise _failure(
                f"{', '.join(modules.names)} could not be imported within {GREETING_SECONDS:g} s"
            ) from None
        if "problem" in told:
            raise _failure(told["problem"])
        return {one.name: one for one in map(_offer, told["handlers"])}

    def start(self, number: int, order: Sequence[Any]) -> None:
        """Have it run something; `order` is as the host reads it, without the number."""
        self.running.add(number)
        self._post(orjson.dumps([number, *order]))

    def cancel(self, number: int) -> None:
        self.stopping.add(number)
        self._post(orjson.dumps([number]))

    def tell(self, speech: Speech) -> None:
        """Let what runs in it speak to its cluster by this."""
        self._post(orjson.dumps({"api": speech.api, "node": speech.node_id, "key": speech.key}))

    def kill(self) -> None:
        """End it, and the programs that its functions have started."""
        if self._process.returncode is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End it, and whatever it runs."""
        self._on_gone = _nobody_asks
        self._transport.close()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        if self._watching is not None:
            await self._watching

    def _post(self, line: bytes) -> None:
        """Gather what is sent in one turn of the loop into one write."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(line)

    def _send(self) -> None:
        lines, self._unsent = self._unsent, []
        if not self._transport.is_closing():  # else its end is told in a moment
            self._transport.write(b"\n".join(lines) + b"\n")

    # What it says

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._receive(orjson.loads(line))

    def _receive(self, message: Any) -> None:
        if isinstance(message, dict):
            if not self._greeting.done():
                self._greeting.set_result(message)
        elif len(message) == 1:
            self._on_grown(message[0])
        else:
            number, code, error = message
            self.running.discard(number)
            self.stopping.discard(number)
            self._on_end(number, code, error)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()
        self._loop.call_later(LEAVE_SECONDS, self.kill)  # nobody can speak to it any more

    async def _watch(self) -> None:
        """Tell its end, once all that it has said before is read."""
        status = await self._process.wait()
        self._kill_group()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()  # a process of its own holds the other end
        if not self._greeting.done():
            self._greeting.set_result({"problem": f"its process ended at once: {ending(status)}"})
        self._on_gone(self, status)


def ending(status: int) -> str:
    """Return the words for a process's exit status."""
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _nobody_asks(child: Child, status: int) -> None:
    """The end of a child that was closed is no news."""


def _offer(told: Sequence[Any]) -> Offer:
    name, concurrency, timeout_seconds, is_async = told
    return Offer(name=name, concurrency=concurrency, timeout_seconds=timeout_seconds, is_async=is_async)


def _command(descriptor: int, modules: Modules) -> Sequence[str]:
    host = "podling.worker.runtime.python_host"
    return [
        sys.executable,
        "-m",
        host,
        str(descriptor),
        str(modules.logs),
        str(modules.threads),
        *modules.names,
    ]


def _environment() -> Mapping[str, str]:
    """Return the worker's own, less its settings, of which some are secret."""
    own = {name: text for name, text in os.environ.items() if not _is_setting(name)}
    places = [str(Path(podling.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, places))}


def _is_setting(name: str) -> bool:
    return name in _DATABASES or (name.startswith("PODLING_") and name not in _KEPT)


def _failure(sentence: str) -> RuntimeFailure:
    return RuntimeFailure(sentence, code=ErrorCode.RUNTIME)


async def discover(modules: Modules) -> Mapping[str, Offer]:
    """Return the handlers of the modules, as a process of their own finds them. Raises RuntimeFailure."""
    child = Child(lambda number, code, error: None, lambda number: None, _nobody_asks)
    try:
        return await child.begin(modules)
    finally:
        await child.close()
