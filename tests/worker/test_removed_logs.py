"""Logs that are read while what they are read from is saved, removed or broken."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord, Stream
from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.core.spec import ContainerSpec
from podling.wire.session import OpenStream
from podling.worker.log_files import LogFiles
from podling.worker.logs import Logs
from podling.worker.masters import Masters
from podling.worker.runtime.keeper import OUTPUT
from podling.worker.runtime.keeper_system import STDERR, STDOUT
from podling.worker.runtime.process_output import Output
from podling.worker.shell import Shell
from podling.worker.streams import Streams
from podling.worker.tails import TailSender

KEY = AttemptKey(task_id="t", attempt=1)
LINE = LogRecord(at=datetime(2026, 3, 1, tzinfo=UTC), stream=Stream.STDOUT, data=b"x\n")
SECONDS = 10.0


class Worker:
    """What `Logs` asks of a worker, whose attempt is saved and removed while its files are looked at."""

    def __init__(self, *, lets_go: bool, says_so: bool) -> None:
        container = SimpleNamespace(
            name="main", container_id="c", has_run=True, spec=ContainerSpec(image="x")
        )
        self._held: Any = SimpleNamespace(key=KEY, containers=(container,))
        self._lets_go = lets_go
        self._says_so = says_so
        self._was_saved = False
        self.state = SimpleNamespace(done={KEY})
        self.log_limit = None

    def held(self, _: AttemptKey) -> Any:
        return self._held

    def runtime_of(self, _: object) -> "Worker":
        return self

    async def logs(self, *_: object, **__: object) -> AsyncIterator[LogRecord]:
        if self._says_so:
            raise RuntimeFailure("it is marked for removal", code=ErrorCode.RUNTIME)
        for line in ():  # an answer that breaks off before its first line looks like this
            yield line

    async def keeps(self, *_: object) -> bool:
        was_saved, self._was_saved = self._was_saved, True
        if self._lets_go:
            self._held = None
        return was_saved

    async def read(self, *_: object) -> AsyncIterator[list[LogRecord]]:
        yield [LINE]


@pytest.mark.parametrize("says_so", [False, True])
@pytest.mark.parametrize("lets_go", [False, True])
async def test_what_is_saved_and_removed_meanwhile_is_read_from_its_file(
    lets_go: bool, says_so: bool
) -> None:
    worker = Worker(lets_go=lets_go, says_so=says_so)
    logs = Logs(cast(Shell, worker), cast(LogFiles, worker), cast(TailSender, None))
    assert [piece async for piece in logs.read(KEY)] == [[LINE]]


async def test_the_output_of_a_process_that_is_removed_meanwhile_is_a_failure_of_its_runtime(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "processes" / OUTPUT
    folder.mkdir(parents=True)
    files = [folder / f"c{kind}" for kind in (STDOUT, STDERR)]
    for file in files:
        file.write_bytes(b"x\n")
    records = Output(tmp_path).read("c", since=None, ended=None)
    assert [(await anext(records)).data for _ in files] == [b"x\n", b"x\n"]
    for file in files:
        file.unlink()
    with pytest.raises(RuntimeFailure, match="not there"):
        await anext(records)


class Broken:
    """Logs that end in an error which nobody has foreseen."""

    def check(self, *_: object) -> None: ...

    async def read(self, *_: object, **__: object) -> AsyncIterator[list[LogRecord]]:
        raise OSError("the disk is gone")
        yield []


async def test_whatever_breaks_a_log_ends_the_stream_and_says_that_it_was_not_all() -> None:
    ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def accept(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive(SECONDS)
        ended.set_result((message.type, message.data))
        return socket

    app = web.Application()
    app.router.add_get("/streams/x", accept)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(SECONDS):
            streams = Streams(cast(Logs, Broken()), http, Masters([site.name]))
            request = OpenStream(stream_id="x", path="/streams/x", task_id="t", attempt=1)
            streams.open(f"http://127.0.0.1:{runner.addresses[0][1]}", request, _refused)
            assert await ended == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.INTERNAL_ERROR)
            await streams.close()
    finally:
        await runner.cleanup()


async def _refused(stream_id: str, error: str) -> None:
    raise AssertionError(f"{stream_id} was refused: {error}")
