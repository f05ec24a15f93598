"""What programs inside attempts speak to: it passes their calls on to the master that this worker has.

So a container needs no way to a master, knows one address for as long as it lives, and reaches nothing
but what its credential is good for. A call is answered here already if no attempt of this worker makes it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp import web
from yarl import URL

from podling.core.errors import NotFound, PodlingError, TooLarge, Unauthorized, Unavailable
from podling.core.protocol import AttemptKey
from podling.kit.connection import Connection, arrived, connection_of, connector_of, listen
from podling.kit.framing import check_framing, no_route
from podling.wire.codec import encode
from podling.wire.credentials import credential_of, headers_of
from podling.wire.errors import error_body, status_of

MOST_CONNECTIONS = 512
MOST_BODY_BYTES = 2 * 1024 * 1024
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 660.0  # a master may hold who waits for a lock for ten minutes
AGAIN_SECONDS = 1
SOCKET_MODE = (
    0o666  # whoever a container runs as; who may not come in there gets no further than its directory
)

OVERRIDE = "X-HTTP-Method-Override"
"""With a POST, for tools that can do no PUT, as busybox's wget cannot."""

_OVERRIDING = frozenset({"PUT", "DELETE"})
_ASKED = ("Content-Type", "Accept")
_ANSWERED = ("Content-Type", "Retry-After", "Link", "X-Next-Cursor", "Allow")

_log = logging.getLogger(__name__)

Check = Callable[[str, AttemptKey | None], str]
"""Returns what to show a master for this credential. Raises Unauthorized or StaleAttempt unless a live
attempt of this worker shows it; with a key, that very one."""


class Door:
    """`master` is where calls go at the moment, if anywhere; `check` decides whose are passed on."""

    def __init__(self, http: aiohttp.ClientSession, master: Callable[[], str | None], check: Check) -> None:
        self._http = http
        self._master = master
        self._check = check
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._sockets: dict[AttemptKey, asyncio.Server] = {}
        self._owners: WeakKeyDictionary[Connection, AttemptKey] = WeakKeyDictionary()

    async def open(self) -> None:
        application = web.Application(middlewares=[arrived, self._guard], client_max_size=MOST_BODY_BYTES)
        application.router.add_route("*", "/api/v1/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()

    async def listen(self, host: str, port: int) -> int:
        """Return the port, a chosen one for 0. Raises OSError."""
        assert self._runner is not None
        server = await listen(self._runner, [self._runner.app], host, port, _refusal, most=MOST_CONNECTIONS)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def listen_for(self, key: AttemptKey, path: Path) -> None:
        """Let this one attempt in by a socket of its own, unless there is one. Raises OSError."""
        assert self._runner is not None
        if key in self._sockets:
            return
        connect = connector_of(self._runner, [self._runner.app], _refusal, most=MOST_CONNECTIONS)

        def owned() -> Connection:
            connection = connect()
            self._owners[connection] = key
            return connection

        loop = asyncio.get_running_loop()
        self._sockets[key] = await loop.create_unix_server(owned, sock=_socket_at(path))

    def leave(self, key: AttemptKey) -> None:
        """Let the attempt in by its socket no more."""
        if (server := self._sockets.pop(key, None)) is not None:
            server.close()

    async def close(self) -> None:
        for server in (*self._servers, *self._sockets.values()):
            server.close()
        self._servers.clear()
        self._sockets.clear()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            check_framing(request)
            response: web.StreamResponse = await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(TooLarge(f"the body is larger than {MOST_BODY_BYTES} bytes"))
        except web.HTTPException as error:
            return _refusal(no_route(request, error)[0])
        except PodlingError as error:
            return _refusal(error)
        return response

    async def _pass_on(self, request: web.Request) -> web.Response:
        if (secret := credential_of(request.headers)) is None:
            raise Unauthorized("send the attempt's own credential, as Authorization: Bearer $PODLING_TOKEN")
        connection = connection_of(request)
        shown = self._check(secret, None if connection is None else self._owners.get(connection))
        if (master := self._master()) is None:
            raise _no_master()
        asked = {name: request.headers[name] for name in _ASKED if name in request.headers}
        url = URL(master + request.raw_path, encoded=True)
        try:
            async with self._http.request(
                _method(request),
                url,
                data=await request.read(),
                headers=asked | headers_of(shown),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
            ) as answer:
                told = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
                return web.Response(body=await answer.read(), status=answer.status, headers=told)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.info("a call of an attempt was not answered by %s: %s", master, type(error).__name__)
            raise _no_master() from None


def _method(request: web.Request) -> str:
    wanted = request.headers.get(OVERRIDE, "").upper()
    return wanted if request.method == "POST" and wanted in _OVERRIDING else request.method


def _socket_at(path: Path) -> socket.socket:
    """Raises OSError."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # The kernel takes a hundred bytes, and the directory may have a longer name.
        made.bind(f"/proc/self/fd/{directory}/{path.name}")
        path.chmod(SOCKET_MODE)
    except OSError:
        made.close()
        raise
    finally:
        os.close(directory)
    return made


def _no_master() -> Unavailable:
    return Unavailable("no master answers at the moment; try again", code="no_master")


def _refusal(error: PodlingError) -> web.Response:
    headers = {"Retry-After": str(AGAIN_SECONDS)} if isinstance(error, Unavailable) else None
    return web.Response(
        body=encode(error_body(error)),
        status=404 if isinstance(error, NotFound) else status_of(error),
        content_type="application/json",
        headers=headers,
    )
