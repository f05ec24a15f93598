"""The worker's end of a session's connection."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Protocol

import aiohttp

from podling.core.errors import PodlingError, Unauthorized, Unavailable
from podling.kit import tls
from podling.wire.credentials import NO_TOKEN_EXISTS
from podling.wire.errors import error_from
from podling.wire.session import SUBPROTOCOLS, WorkerMessage, pack, unpack, version_of

SEND_SECONDS = 10.0
CLOSE_SECONDS = 1.0
REFUSAL_SECONDS = 3.0
MOST_MESSAGE_BYTES = 64 * 1024 * 1024


class Line(Protocol):
    """Messages to and from one master, whatever carries them."""

    protocol_version: int

    async def send(self, message: WorkerMessage) -> None:
        """Raises TimeoutError, OSError."""

    async def receive(self) -> object:
        """Return the next message. Raises Unavailable when the master has hung up."""

    async def close(self) -> None: ...


Dial = Callable[[str, float], Awaitable[Line]]
"""Opens the line to the master of this URL within so many seconds; see `dial` for what it raises."""


class WebSocketLine:
    """Every wait has a deadline but that for the next message."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.protocol_version = version_of(socket.protocol)

    async def send(self, message: WorkerMessage) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_str(pack(message))

    async def receive(self) -> object:
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Unavailable("the master hung up")
        return unpack(message.data)

    async def close(self) -> None:
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close()


async def dial(http: aiohttp.ClientSession, node_id: str, url: str, patience: float) -> Line:
    """Open the line to a master. Raises Unauthorized, Unavailable, TimeoutError, OSError, ClientError."""
    address = f"{url}/api/v1/nodes/{node_id}/session"
    try:
        async with asyncio.timeout(patience):
            socket = await http.ws_connect(address, max_msg_size=MOST_MESSAGE_BYTES, protocols=SUBPROTOCOLS)
            return WebSocketLine(socket)
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            told = await _refusal(http, address)
            raise Unauthorized(_unauthorized(url, node_id, "Authorization" in http.headers, told)) from error
        raise Unavailable(f"it answered with status {error.status}: {error.message}") from error
    except aiohttp.ServerDisconnectedError as error:
        raise Unavailable(tls.hung_up(url, shown=True)) from error
    except aiohttp.ClientSSLError as error:
        raise Unavailable(tls.reason_of(error) or str(error)) from error


async def _refusal(http: aiohttp.ClientSession, address: str) -> PodlingError | None:
    """Return what the master says itself, which a failed handshake does not tell."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS), http.get(address) as answer:
            return error_from(answer.status, await answer.json())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError):
        return None  # it is no master, or one that is about to go


def _unauthorized(url: str, node_id: str, has_token: bool, told: PodlingError | None) -> str:
    if told is not None and told.code in ("certificate_needed", NO_TOKEN_EXISTS):
        return f"the master at {url} refuses this worker: {told.message}"
    fault = "refuses the token of this worker" if has_token else "wants a token"
    more = "" if told is None else f"{told.message}; "
    return (
        f"the master at {url} {fault}: {more}join with a token of podling token create NAME --join --node"
        f" {node_id}, or give a file with the master's own, or with one for workers (podling token create"
        " NAME --role worker), --token-file FILE"
    )
