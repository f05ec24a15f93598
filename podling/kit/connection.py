"""One client's connection: what cannot be read as HTTP is answered like every other bad request."""

import asyncio
import logging
import random
import socket
import struct
from collections.abc import Callable, Iterable
from functools import partial
from ssl import SSLContext
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import _ErrInfo

from podling.core.errors import Conflict, InvalidInput, PodlingError
from podling.kit.framing import TornBody, unreadable
from podling.kit.places import Places

HEADERS_SECONDS = 30.0
"""A client that has not sent its first request's headers by then is cut off."""

KEEP_ALIVE_SECONDS = 30.0
"""A connection without a further request for so long is closed."""

WRITE_SECONDS = 60.0
"""A client that takes nothing of its answer for so long is cut off."""

LINGERING_SECONDS = 2.0
"""For so long the rest of a refused body is taken, so that the refusal can be read."""

STAMP = {"Server": "podling", "X-Content-Type-Options": "nosniff"}
"""On every answer: no browser guesses what it is, and nobody learns with what it was made.

One that a handler begins by itself, a stream or a WebSocket, has to carry it from the start.
"""

_UNREADABLE = (HttpProcessingError, web.RequestPayloadError)

_log = logging.getLogger(__name__)

Refuse = Callable[[PodlingError], web.StreamResponse]


async def listen(
    runner: web.BaseRunner,
    apps: Iterable[web.Application],
    host: str,
    port: int,
    refuse: Refuse,
    ssl_context: SSLContext | None = None,
    *,
    most: int,
    start_serving: bool = True,
) -> asyncio.Server:
    """Take the port for a runner of these applications that is set up; `refuse` makes an answer of an error.

    `most` connections are held at once, see `Places`. Raises OSError.
    """
    connect = connector_of(runner, apps, refuse, most=most)
    return await asyncio.get_running_loop().create_server(
        connect, host, port, ssl=ssl_context, backlog=1024, start_serving=start_serving
    )


def connector_of(
    runner: web.BaseRunner, apps: Iterable[web.Application], refuse: Refuse, *, most: int
) -> "Callable[[], Connection]":
    """Return what makes the connections of a server; see `listen`."""
    loop, server = asyncio.get_running_loop(), runner.server
    assert server is not None
    options: dict[str, Any] = {
        "access_log": None,
        "keepalive_timeout": KEEP_ALIVE_SECONDS,
        "lingering_time": LINGERING_SECONDS,
    }
    methods = ", ".join(sorted({route.method for app in apps for route in app.router.routes()}))
    return partial(Connection, refuse, methods, Places(most), server, loop=loop, **options)


class Connection(web.RequestHandler):
    """One of a server's connections; see `listen`."""

    def __init__(self, refuse: Refuse, methods: str, places: Places, *server: Any, **options: Any) -> None:
        super().__init__(*server, **options)
        self._refuse = refuse
        self._methods = methods
        self._places = places
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _bound_unread_answers(transport)
        self._deadline = asyncio.get_running_loop().call_later(spread(HEADERS_SECONDS), self.cut)
        if not self._places.enter(self):
            self.cut()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._places.leave(self)
        self._deadline.cancel()
        self._moves()
        super().connection_lost(exc)

    def headers_arrived(self) -> None:
        """Be cut off no more."""
        self._deadline.cancel()

    def serve(self) -> None:
        """Everything that was waited for is here."""
        self._places.serve(self)

    def wait(self) -> None:
        """The client has to send, or to read, something."""
        self._places.wait_for(self)

    def stay(self) -> None:
        """Remain, without being counted, for as long as it lasts."""
        self._places.leave(self)

    def cut(self) -> None:
        """End it now; an answer that the client does not take would keep it open for ever."""
        transport = self.transport
        self.force_close()
        if transport is not None and transport.get_write_buffer_size():
            _reset(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = asyncio.get_running_loop().call_later(WRITE_SECONDS, self.cut)

    def resume_writing(self) -> None:
        self._moves()
        super().resume_writing()

    def _moves(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def data_received(self, data: bytes) -> None:
        """Tell who reads a body at once that the rest of it cannot be read; the parser lets them wait."""
        super().data_received(data)
        if self._messages and isinstance(failed := self._messages[-1][0], _ErrInfo):
            request = self._current_request
            if request is not None and not request.content.is_eof():
                request.content.set_exception(TornBody(unreadable(failed.exc).message))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP; everything else has become an answer before it gets here."""
        if not isinstance(exc, _UNREADABLE) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        self.log_exception("", exc_info=exc)
        request._version = HttpVersion11  # the parser has forgotten it
        response = self._refuse_unread(unreadable(exc))
        response.force_close()
        return response

    def _refuse_unread(self, refusal: PodlingError) -> web.StreamResponse:
        response = self._refuse(refusal)
        if isinstance(refusal, Conflict):
            response.set_status(405)
            response.headers["Allow"] = self._methods
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Stamp it; tell in our shape what was refused before any handler, such as an unknown `Expect`."""
        if isinstance(resp, web.HTTPException):
            resp = self._refuse(InvalidInput(resp.text or resp.reason, code="bad_request"))
        if not resp.prepared:
            resp.headers.update(STAMP)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **named: Any) -> None:
        """A fault of the client is a line without a traceback."""
        error = named.get("exc_info")
        if isinstance(error, _UNREADABLE):
            _log.info("a request could not be read: %s", type(error).__name__)
        else:
            super().log_exception(*args, **named)


@web.middleware
async def arrived(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tell the connection that a request has begun, and that it is over."""
    connection = connection_of(request)
    if connection is None:
        return await _handled(request, handler)
    connection.headers_arrived()
    if request.can_read_body or "Upgrade" in request.headers:
        connection.wait()
    else:
        connection.serve()
    try:
        return await _handled(request, handler)
    finally:
        connection.wait()


async def _handled(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    return response


def spread(seconds: float) -> float:
    """Return a little less, so that those who came together are not cut off in the same moment."""
    return seconds * random.uniform(0.7, 1.0)


def in_service(request: web.Request) -> None:
    """Everything that was waited for is here."""
    if (connection := connection_of(request)) is not None:
        connection.serve()


def uncounted(request: web.Request) -> None:
    """Keep the request's connection, for as long as it lasts, beside those that are counted."""
    if (connection := connection_of(request)) is not None:
        connection.stay()


def connection_of(request: web.Request) -> Connection | None:
    """Return the connection of a request; None for one that no `listen` has made."""
    return request.protocol if isinstance(request.protocol, Connection) else None


def _reset(transport: asyncio.Transport) -> None:
    """Close without sending what is left, also what the kernel has taken already."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _bound_unread_answers(transport: asyncio.BaseTransport) -> None:
    """Have the kernel end a connection on which an answer gets nowhere, closed or not."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))
