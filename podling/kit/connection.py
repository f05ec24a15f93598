"""One client's connection: what cannot be read as HTTP is answered like every other bad request."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from ssl import SSLContext
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong

from podling.core.errors import InvalidInput, PodlingError, UnsupportedMediaType

HEADERS_SECONDS = 30.0
"""A client that has not sent its first request's headers by then is cut off."""

KEEP_ALIVE_SECONDS = 30.0
"""A connection without a further request for so long is closed."""

_UNREADABLE = (HttpProcessingError, web.RequestPayloadError)

_log = logging.getLogger(__name__)

Refuse = Callable[[PodlingError], web.StreamResponse]


async def listen(
    runner: web.AppRunner,
    host: str,
    port: int,
    refuse: Refuse,
    ssl_context: SSLContext | None = None,
    *,
    start_serving: bool = True,
) -> asyncio.Server:
    """Take the port for a runner that is set up; `refuse` makes an answer of an error. Raises OSError."""
    loop, server = asyncio.get_running_loop(), runner.server
    assert server is not None
    options: dict[str, Any] = {"access_log": None, "keepalive_timeout": KEEP_ALIVE_SECONDS}
    connect = partial(Connection, refuse, server, loop=loop, **options)
    return await loop.create_server(
        connect, host, port, ssl=ssl_context, backlog=1024, start_serving=start_serving
    )


class Connection(web.RequestHandler):
    """One of a server's connections; see `listen`."""

    def __init__(self, refuse: Refuse, *server: Any, **options: Any) -> None:
        super().__init__(*server, **options)
        self._refuse = refuse

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEADERS_SECONDS, self.force_close)

    def headers_arrived(self) -> None:
        """Be cut off no more."""
        self._deadline.cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

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
        response = self._refuse(_refusal(exc))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **named: Any) -> None:
        """A fault of the client is a line without a traceback."""
        error = named.get("exc_info")
        if isinstance(error, _UNREADABLE):
            _log.info("a request could not be read: %s", type(error).__name__)
        else:
            super().log_exception(*args, **named)


@web.middleware
async def arrived(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tell the connection that a request has begun."""
    if isinstance(request.protocol, Connection):
        request.protocol.headers_arrived()
    response: web.StreamResponse = await handler(request)
    return response


def _refusal(error: BaseException) -> PodlingError:
    match error:
        case ContentEncodingError():
            return UnsupportedMediaType("the body is not packed as it says; send gzip, deflate or none")
        case LineTooLong():
            return InvalidInput("the path, or a header, is longer than 8190 bytes", code="header_too_large")
    return InvalidInput("the request is not valid HTTP/1.1", code="bad_request")
