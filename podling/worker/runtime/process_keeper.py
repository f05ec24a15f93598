"""The worker's line to its keeper: made at need, made again after every break."""

import asyncio
import contextlib
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

import podling
from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode
from podling.worker.runtime import keeper
from podling.worker.runtime.keeper_system import socket_address

ANSWER_SECONDS = 30.0
START_SECONDS = 10.0
RETRY_SECONDS = 0.5
_LINE_BYTES = 16 * 1024 * 1024

_log = logging.getLogger(__name__)


class KeeperLine:
    """Requests to the keeper and their answers, and the ends that it tells by itself."""

    def __init__(
        self,
        data_dir: Path,
        linger_seconds: float,
        on_processes: Callable[[Sequence[Mapping[str, Any]]], None],
        on_ended: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._directory = data_dir / "processes"
        self._linger = linger_seconds
        self._on_processes = on_processes
        self._on_ended = on_ended
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._unsent: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._serving: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self.problem: str | None = "The keeper of the processes is not there yet."

    async def open(self) -> None:
        """Find the keeper or start one. Raises RuntimeFailure if there is none to be had."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._address = socket_address(str(self._directory))
        reader = await self._connect()
        self._serving = asyncio.create_task(self._serve(reader))
        await self._greet()

    async def close(self) -> None:
        """Leave the keeper to itself."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        self._hang_up("The worker ends.")

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the keeper's answer. Raises RuntimeFailure: its refusal, or RUNTIME without an answer."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            raise _failure(self.problem or "The keeper of the processes is not there.") from None
        return await self._request(request)

    async def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._post(orjson.dumps({**request, "n": number}))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply: dict[str, Any] = await answer
        except TimeoutError:
            raise _failure(f"The keeper did not answer within {ANSWER_SECONDS:g} s.") from None
        finally:
            self._waiting.pop(number, None)
        if "code" in reply:
            raise RuntimeFailure(reply["error"], code=reply["code"])
        return reply

    def _post(self, line: bytes) -> None:
        """Gather what is sent in one turn of the loop into one write."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._write)
        self._unsent.append(line)

    def _write(self) -> None:
        lines, self._unsent = self._unsent, []
        if self._writer is not None:
            self._writer.write(b"".join(line + b"\n" for line in lines))

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        while True:
            await self._read(reader)
            self._hang_up("The keeper of the processes has ended; another one is being started.")
            _log.warning("%s", self.problem)
            reader = await self._connect_again()
            greeting = asyncio.create_task(self._greet())
            greeting.add_done_callback(_log_failure)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._receive(orjson.loads(line))

    def _receive(self, message: dict[str, Any]) -> None:
        if "ended" in message:
            self._on_ended(message["ended"])
            return
        answer = self._waiting.get(message["n"])
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _greet(self) -> None:
        """Learn what there is; only then is the line of use."""
        answer = await self._request({"do": "list"})
        self.problem = None
        self._on_processes(answer["processes"])
        self._ready.set()

    def _hang_up(self, problem: str) -> None:
        self.problem = problem
        self._ready.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_failure(problem))

    async def _connect_again(self) -> asyncio.StreamReader:
        while True:
            try:
                return await self._connect()
            except RuntimeFailure as failure:
                self.problem = failure.message
                _log.warning("%s", failure.message)
                await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> asyncio.StreamReader:
        """Return a connection to the living keeper, or to one just started."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    with contextlib.suppress(ConnectionError, FileNotFoundError):
                        reader, self._writer = await asyncio.open_unix_connection(
                            self._address, limit=_LINE_BYTES
                        )
                        return reader
                    if await asyncio.to_thread(self._launch) == keeper.TAKEN:
                        # Another one is just beginning or ending; both take a moment.
                        await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise _failure(f"The keeper of the processes did not start within {START_SECONDS:g} s.") from None

    def _launch(self) -> int | None:
        """Start a keeper and wait until it listens; return the exit status of one that ended."""
        with (self._directory / "keeper.log").open("ab") as log:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-S",
                    "-m",
                    keeper.__name__,
                    str(self._directory.resolve()),
                    str(self._linger),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PYTHONPATH": str(Path(podling.__file__).parent.parent), "PATH": os.defpath},
                start_new_session=True,
            )
        assert child.stdout is not None
        with child.stdout as output:
            listening = bool(select.select([output], [], [], START_SECONDS)[0]) and (
                output.readline() == keeper.READY
            )
        if listening:
            self._child = child  # kept so that it is waited for when it ends
            return None
        child.kill()  # it has ended by itself, or hangs
        status = child.wait(START_SECONDS)
        if status != keeper.TAKEN:
            raise _failure(f"The keeper of the processes could not start; see {self._directory}/keeper.log.")
        return status


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.warning("the keeper was not greeted: %s", task.exception())


def _failure(sentence: str) -> RuntimeFailure:
    return RuntimeFailure(sentence, code=ErrorCode.RUNTIME)
