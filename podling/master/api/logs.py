"""`/api/v1/tasks/{id}/logs`, and the connection on which a worker sends them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

from aiohttp import WSMsgType, web

from podling.core.access import Role
from podling.core.errors import InvalidInput, NotFound, PodlingError
from podling.core.logrecord import Stream
from podling.kit.connection import in_service
from podling.master.api.admission import ADMISSION
from podling.master.api.http import boolean, moment, path_id, query, refuse_unless_websocket, whole_number
from podling.master.api.keys import CONTEXT, RELAY, STREAMS
from podling.master.api.route import SECRET, Node, Route, get
from podling.master.operations import logs
from podling.master.sessions.streams import Stream as LogStream
from podling.wire.session import LOG_END

_STREAMS = {"stdout": Stream.STDOUT, "stderr": Stream.STDERR}
WRITE_SECONDS = 60.0
MOST_FRAME_BYTES = 1024 * 1024


def routes() -> list[Route]:
    return [
        get("/api/v1/tasks/{id}/logs", get_logs, Role.READER),
        get(f"/api/v1/streams/{{{SECRET}}}", accept_stream, Role.WORKER, node=Node.IN_HANDLER),
    ]


async def get_logs(request: web.Request) -> web.StreamResponse:
    """Stream text; the reader may leave at any time."""
    context, relay, streams = request.app[CONTEXT], request.app[RELAY], request.app[STREAMS]
    asked = _log_query(query(request, "attempt", "stream", "tail", "since", "follow"))
    task_id = path_id(request, "task")
    await logs.check(context, task_id, asked)
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
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
        await _write(response, f"[podling: {error.message}; what follows is missing here]\n".encode())


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
    """A worker dials in with what it was asked for; its name is the secret."""
    stream = request.app[STREAMS].get(request.match_info[SECRET])
    if stream is None or stream.dialled.is_set():
        raise NotFound.of("stream")
    socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=MOST_FRAME_BYTES)
    refuse_unless_websocket(request, socket)
    await socket.prepare(request)
    in_service(request)
    stream.dialled.set()
    stream.broken = True
    try:
        stream.broken = not await _pump(socket, stream)
    finally:
        await stream.put(None)
        await socket.close()
    return socket


async def _pump(socket: web.WebSocketResponse, stream: LogStream) -> bool:
    """Pass frames on until the worker says that this was all; False if it breaks off before."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            return bool(message.data == LOG_END)
        if not await stream.put(message.data):
            return True
    return False
