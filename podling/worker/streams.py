"""Logs on demand: for each reader the worker dials a connection of its own to the asking master."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress

import aiohttp

from podling.core.errors import PodlingError, Unavailable
from podling.core.logrecord import LogRecord, Stream, encode, select
from podling.core.protocol import AttemptKey
from podling.wire.session import LOG_END, OpenStream
from podling.worker.logs import Logs
from podling.worker.masters import Masters

DIAL_SECONDS = 10.0
SEND_SECONDS = 60.0
HANG_UP_SECONDS = 10.0
CLOSE_SECONDS = 1.0
SILENT_SECONDS = 50.0  # a master pings more often, also while it reads slowly
MOST_FRAME_BYTES = 64 * 1024  # a few milliseconds of work for the master that takes it in
MOST_WAITING = 1000  # records read ahead of a slow reader
MOST_STREAMS = 64

_log = logging.getLogger(__name__)

Refuse = Callable[[str, str], Awaitable[None]]


class Line:
    """The connection on which one reader's log goes to the master that asked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._is_sending = False
        self._sent = 0

    async def send(self, frames: bytes) -> None:
        """Raises TimeoutError if the master takes nothing for too long."""
        self._is_sending = True
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_bytes(frames)
        self._is_sending = False
        self._sent += 1

    async def end(self) -> None:
        """Say that this was all."""
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_str(LOG_END)

    async def gone(self) -> None:
        """Return when the master hangs up, or gives no sign of life; what it takes is one."""
        while True:
            sent = self._sent
            try:
                await self._socket.receive(SILENT_SECONDS)
                return
            except TimeoutError:
                if self._sent == sent and not self._is_sending:
                    return

    async def close(self, code: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code=code)


class Streams:
    """Serves each request in a task of its own."""

    def __init__(self, logs: Logs, http: aiohttp.ClientSession, masters: Masters) -> None:
        self._logs = logs
        self._http = http
        self._masters = masters
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, url: str, request: OpenStream, refuse: Refuse) -> None:
        """Begin to serve a request that came from the master at `url`; `refuse` tells it that it cannot be.

        The reader may be at another master: then the request says where to dial.
        """
        task = asyncio.create_task(self._serve(url, request, refuse))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, url: str, request: OpenStream, refuse: Refuse) -> None:
        try:
            self._check(request)
            async with asyncio.timeout(DIAL_SECONDS):
                address = (request.url or url).rstrip("/") + request.path
                # No pings: they wait behind all that a slow reader has not taken yet, who would seem gone.
                line = Line(await self._http.ws_connect(address))
        except PodlingError as error:
            await _try_to_refuse(refuse, request.stream_id, error.message)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("the master could not be dialled for a log stream: %s", error)
            await _try_to_refuse(refuse, request.stream_id, "the worker cannot reach the master that asks")
        else:
            await self._copy(request, line)

    def _check(self, request: OpenStream) -> None:
        if len(self._tasks) > MOST_STREAMS:
            raise Unavailable("this worker serves too many logs at once")
        if request.url is not None and not self._masters.knows(request.url):
            raise Unavailable(f"no master has told this worker of one at {request.url}")
        self._logs.check(_key(request), request.container)

    async def _copy(self, request: OpenStream, line: Line) -> None:
        """Send the log until it ends or the master hangs up; the close code says whether all was sent."""
        sending = asyncio.create_task(self._send(request, line))
        hanging_up = asyncio.create_task(line.gone())
        code = aiohttp.WSCloseCode.INTERNAL_ERROR
        try:
            await asyncio.wait({sending, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
                code = aiohttp.WSCloseCode.OK
                # Whoever hangs up first may lose what the other has not read yet: the master does.
                await asyncio.wait({hanging_up}, timeout=HANG_UP_SECONDS)
        except (PodlingError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("the log stream of task %s broke off: %s", request.task_id, error)
        finally:
            for task in (sending, hanging_up):
                task.cancel()
            await asyncio.gather(sending, hanging_up, return_exceptions=True)
            await line.close(code)

    async def _send(self, request: OpenStream, line: Line) -> None:
        queue: asyncio.Queue[LogRecord | None] = asyncio.Queue(MOST_WAITING)
        reading = asyncio.create_task(self._read(request, queue))
        try:
            while frames := await _next_frames(queue):
                await line.send(frames)
            await reading
            await line.end()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, request: OpenStream, queue: "asyncio.Queue[LogRecord | None]") -> None:
        try:
            async with aclosing(self._records(request)) as records:
                async for record in records:
                    await queue.put(record)
        except Exception:  # whatever it is: who sends waits for the end
            await queue.put(None)
            raise
        await queue.put(None)

    async def _records(self, request: OpenStream) -> AsyncGenerator[LogRecord, None]:
        stream = None if request.stream is None else Stream(request.stream)
        if not request.follow:
            found = self._logs.read(
                _key(request), request.container, stream=stream, since=request.since, tail=request.tail
            )
            async with aclosing(found) as pieces:
                async for piece in pieces:
                    for record in piece:
                        yield record
            return
        async with aclosing(self._logs.follow(_key(request), request.container, request.tail)) as records:
            async for record in records:
                if select([record], stream=stream, since=request.since):
                    yield record


def _key(request: OpenStream) -> AttemptKey:
    return AttemptKey(task_id=request.task_id, attempt=request.attempt)


async def _next_frames(queue: "asyncio.Queue[LogRecord | None]") -> bytes:
    """Return the frames of all records that are there, waiting for the first; nothing at the end."""
    records = []
    size = 0
    record = await queue.get()
    while record is not None:
        records.append(record)
        size += len(record.data)
        if queue.empty() or size >= MOST_FRAME_BYTES:
            return encode(records)
        record = queue.get_nowait()
    if records:
        queue.put_nowait(None)  # the end is told by the next call
    return encode(records)


async def _try_to_refuse(refuse: Refuse, stream_id: str, error: str) -> None:
    try:
        await refuse(stream_id, error)
    except (aiohttp.ClientError, TimeoutError, OSError) as failure:
        _log.info("a stream could not be refused: %s", failure)
