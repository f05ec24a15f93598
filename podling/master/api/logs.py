"""`/api/v1/tasks/{id}/logs`, and the connection on which a worker sends them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from aiohttp import WSMsgType, web

from podling.core.access import ASKED, Principal, Role
from podling.core.errors import InvalidInput, NotFound, PodlingError, Unauthorized
from podling.core.logrecord import Stream
from podling.kit.connection import STAMP, in_service
from podling.master.api.admission import ADMISSION
from podling.master.api.http import boolean, moment, path_id, query, refuse_unless_websocket, whole_number
from podling.master.api.keys import CONTEXT, PRINCIPAL, RELAY, STREAMS
from podling.master.api.route import SECRET, Node, Route, get
from podling.master.operations import logs
from podling.master.sessions.streams import Stream as LogStream
from podling.wire.logs import missing_after
from podling.wire.session import LOG_END

_STREAMS = {"stdout": Stream.STDOUT, "stderr": Stream.STDERR}
WRITE_SECONDS = 60.0
PING_SECONDS = 20.0
SILENT_SECONDS = 50.0  # of a worker that has been pinged meanwhile
MOST_FRAME_BYTES = 1024 * 1024


def routes() -> list[Route]:
    return [
        get("/api/v1/tasks/{id}/logs", get_logs, Role.READER),
        _dialled_by_path(f"/api/v1/streams/{{{SECRET}}}"),
    ]


def _dialled_by_path(path: str) -> Route:
    """A worker may have no credential: it was let in before the first token, or by another master."""
    return replace(get(path, accept_stream, Role.WORKER, node=Node.IN_HANDLER), by_path=True)


async def get_logs(request: web.Request) -> web.StreamResponse:
    """Stream text; the reader may leave at any time."""
    context, relay, streams = request.app[CONTEXT], request.app[RELAY], request.app[STREAMS]
    asked = _log_query(query(request, "attempt", "stream", "tail", "since", "follow"))
    task_id = path_id(request, "task")
    await logs.check(context, task_id, asked)
    response = web.StreamResponse(headers=STAMP | {"Content-Type": "text/plain; charset=utf-8"})
    with request.app[ADMISSION].streaming(request), streams.reading():
        await response.prepare(request)
        async with aclosing(logs.read(context, relay, streams, task_id, asked)) as texts:
            await _copy(texts, response)
    await response.write_eof()
    return response


async def _copy(texts: AsyncIterator[bytes], response: web.StreamResponse) -> None:
    """Write all of it; what keeps the rest away is told where it is missing."""
    try:
        async for text in texts:
            await _write(response, text)
    except PodlingError as error:
        await _write(response, missing_after(error.message))


async def _write(response: web.StreamResponse, text: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(text)


def _log_query(given: Mapping[str, str]) -> logs.LogQuery:
    stream = given.get("stream")
    if stream is not None and stream not in _STREAMS:
        raise InvalidInput.field("stream", "must be stdout or stderr")
    return logs.LogQuery(
        attempt=whole_number(given.get("attempt"), "attempt", 1, 2**31),
        stream=_STREAMS[stream] if stream else None,
        tail=whole_number(given.get("tail"), "tail", 0, 10**9),
        since=moment(given.get("since"), "since"),
        follow=boolean(given.get("follow"), "follow"),
    )


async def accept_stream(request: web.Request) -> web.StreamResponse:
    """A worker dials in with what it was asked for; its name is the secret, and good for once."""
    stream = request.app[STREAMS].get(request.match_info[SECRET])
    if stream is None or stream.taken:
        raise _no_stream(request[PRINCIPAL])
    socket = web.WebSocketResponse(max_msg_size=MOST_FRAME_BYTES)
    socket.headers.update(STAMP)
    refuse_unless_websocket(request, socket)
    stream.taken = True
    await socket.prepare(request)
    in_service(request)
    stream.dialled.set()
    stream.broken = True
    pinging = asyncio.create_task(_ping(socket))
    try:
        stream.broken = not await _pump(socket, stream)
    finally:
        pinging.cancel()
        # A task of its own: a connection that is lost cancels this one, and the reader would wait for ever.
        ended = asyncio.create_task(stream.put(None))
        await asyncio.wait({pinging, ended})
        await socket.close()
    return socket


def _no_stream(asking: Principal) -> PodlingError:
    """Who is nobody but for a path that is right is a stranger with one that is not."""
    if asking is ASKED:
        return Unauthorized("this wants a worker's token, or a path that a master has given a worker")
    return NotFound.of("stream")


async def _pump(socket: web.WebSocketResponse, stream: LogStream) -> bool:
    """Pass frames on until the worker says that this was all; False if it breaks off before.

    Its silence counts only while it is listened to: what it says waits behind what a slow reader
    has not taken yet, answers to pings too.
    """
    try:
        while (message := await socket.receive(SILENT_SECONDS)).type is WSMsgType.BINARY:
            if not await stream.put(message.data):
                return True
    except TimeoutError:
        return False
    return message.type is WSMsgType.TEXT and bool(message.data == LOG_END)


async def _ping(socket: web.WebSocketResponse) -> None:
    """Show the worker that there is a reader, and have it show itself; it may have nothing to say."""
    while True:
        await asyncio.sleep(PING_SECONDS)
        await socket.ping()
