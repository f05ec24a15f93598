"""The asynchronous client, on aiohttp."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from typing import Any, Self

import aiohttp
from yarl import URL

from podling.client import program
from podling.client.asynchronous_face import AsyncFace
from podling.client.call import (
    Call,
    Request,
    Response,
    T,
    encoded,
    error_of,
    headers_of,
    target_of,
)
from podling.client.program import ConnectionLost, Effect, Link, Outcome, Program, Send, Sleep

_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class AsyncClient(AsyncFace):
    """As `Client`, for asyncio. Use it as a context manager, or close it."""

    def __init__(
        self,
        url: str = program.DEFAULT_URL,
        *,
        token: str | None = None,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        addresses = program.addresses_of(url)
        self.link = Link(addresses=addresses, token=token, tls=tls, timeout_seconds=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def perform(self, steps: Program[T]) -> T:
        """Perform a program of `podling.client.program`."""
        outcome: Outcome = None
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await self._perform(effect)

    async def stream(self, call: Call[Any], *, silence_seconds: float = 30.0) -> AsyncGenerator[bytes, None]:
        """Yield the answer's body as it arrives; empty bytes after each `silence_seconds` without any.

        Raises Unavailable (code `stream_lost`) if it breaks off.
        """
        response = await self._open_stream(call)
        async with response:
            while True:
                try:
                    async with asyncio.timeout(silence_seconds):
                        chunk = await response.content.readany()
                except TimeoutError:
                    yield b""
                    continue
                except _BROKEN as error:
                    raise program.stream_lost(program.reason_of(error)) from error
                if not chunk:
                    return
                yield chunk

    async def _perform(self, effect: Effect) -> Outcome:
        if isinstance(effect, Sleep):
            await asyncio.sleep(effect.seconds)
            return None
        try:
            async with (
                asyncio.timeout(program.patience_at(self.link, effect)),
                await self._open(effect.request, effect.address) as response,
            ):
                answer = await _whole(response)
        except _BROKEN as error:
            return _lost(effect, error)
        self.link = program.preferring(self.link, effect.address)
        return answer

    async def _open_stream(self, call: Call[Any]) -> aiohttp.ClientResponse:
        lost: ConnectionLost | None = None
        for address in self.link.addresses:
            send = Send(request=call.request, address=address)
            try:
                async with asyncio.timeout(program.patience_at(self.link, send)):
                    response = await self._open(call.request, address)
                    if response.status in call.expected:
                        self.link = program.preferring(self.link, address)
                        return response
                    async with response:
                        raise error_of(await _whole(response))
            except _BROKEN as error:
                lost = _lost(send, error)
        assert lost is not None, "a link has at least one address"
        raise program.unreachable(self.link, lost)

    async def _open(self, request: Request, address: str) -> aiohttp.ClientResponse:
        if self._session is None:
            # The deadlines are set around each request; a stream may last as long as it likes. Who waits for
            # a lock keeps a connection, so a bound on them would keep its holder from giving it back.
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(),
                connector=aiohttp.TCPConnector(ssl=self.link.tls or True, limit=0),
            )
        return await self._session.request(
            request.method,
            URL(address + target_of(request), encoded=True),
            data=encoded(request),
            headers=headers_of(request, self.link.token),
            allow_redirects=False,
        )


async def _whole(response: aiohttp.ClientResponse) -> Response:
    headers = {name.lower(): text for name, text in response.headers.items()}
    return Response(status=response.status, headers=headers, body=await response.read())


def _lost(send: Send, error: BaseException) -> ConnectionLost:
    never_sent = isinstance(error, aiohttp.ClientConnectorError)
    unanswered = isinstance(error, aiohttp.ServerDisconnectedError)
    return program.lost_connection(send.address, error, sent=not never_sent, unanswered=unanswered)
