"""Who is let in when many come: workers always, everybody else in bounded numbers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from aiohttp import web

from podling.core.errors import PodlingError, RequestTimeout, TooManyRequests, Unavailable
from podling.kit.connection import in_service, spread
from podling.master.api.pace import Pace

MOST_CONNECTIONS = 4096
"""Of everybody but the workers in session; more than the next two together, so that a newcomer gets in."""

MOST_IN_HAND = 1000
"""Requests that are being answered, and fewer while that slows the event loop down (see `Pace`).

One whose body is still on its way is not among them.
"""

MOST_STREAMS = 1000
"""Answers that last: logs that are followed."""

MOST_READING = 6
"""Requests that read the store at once: the rest of its ten connections is for beats, commits and loops."""

MOST_BODY_BYTES_IN_ALL = 256 * 1024 * 1024
"""Of requests that are on their way or in hand; then only those with small bodies are taken."""

MOST_HEAVY = 8
"""Requests with big bodies that are worked on at once: reading one takes a tenth of a second."""

MOST_PER_ROUND = 20
"""Requests begun in one round of the event loop: beats are read in the next one, a few milliseconds later."""

SMALL_BODY_BYTES = 16 * 1024
BODY_SECONDS = 30.0
TURN_SECONDS = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admission:
    """`urgent` are the handlers of workers' requests and of health, which are never counted.

    `store_is_behind` tells that no further write can be taken.
    """

    def __init__(self, urgent: frozenset[Handler], store_is_behind: Callable[[], bool]) -> None:
        self._urgent = urgent
        self._store_is_behind = store_is_behind
        self._in_hand = 0
        self._streams = 0
        self._body_bytes = 0
        self._arriving: set[asyncio.Timeout] = set()
        self._is_stopping = False
        self._begun = 0  # in this round of the event loop
        self._pace = Pace(MOST_IN_HAND)
        self._reading = asyncio.Semaphore(MOST_READING)
        self._heavy = asyncio.Semaphore(MOST_HEAVY)

    @property
    def in_hand(self) -> int:
        """How many requests are being answered now, workers' own and streams aside."""
        return self._in_hand

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse before anything is read of it what cannot be answered soon."""
        with ExitStack() as stay:
            request[_STAY] = stay
            if not self._is_urgent(request):
                self._refuse_if_full(request)
                if not request.can_read_body:
                    await self._enter(request)
            return await handler(request)

    def stop(self) -> None:
        """Wait no more for bodies that are still on their way."""
        self._is_stopping = True
        for deadline in self._arriving:
            if not deadline.expired():
                deadline.reschedule(0.0)

    async def body(self, request: web.Request, most: int) -> bytes | None:
        """Return the body; None if it has more than `most` bytes.

        Raises RequestTimeout for one that drips, Unavailable when there is no room for it.
        """
        if not request.can_read_body:
            return b""
        body = bytearray()
        request[_STAY].callback(lambda: self._put_down(len(body)))
        if not await self._arrived(request, body, most):
            return None
        in_service(request)
        if not self._is_urgent(request):
            self._refuse_if_full(request)
            await self._enter(request)
            if len(body) > SMALL_BODY_BYTES:
                await _take_turn(self._heavy, request)
        return bytes(body)

    @contextmanager
    def streaming(self, request: web.Request) -> Iterator[None]:
        """Count the request among the streams from now on. Raises TooManyRequests."""
        if self._streams >= MOST_STREAMS:
            raise TooManyRequests(
                f"this master serves {MOST_STREAMS} streams already; try again, or ask another master",
                code="too_many_streams",
            )
        request[_STAY].close()
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def _is_urgent(self, request: web.Request) -> bool:
        return request.match_info.handler in self._urgent

    def _refuse_if_full(self, request: web.Request) -> None:
        if self._is_stopping:
            raise _stopping()
        writes = request.method not in ("GET", "HEAD")
        if self._in_hand >= self._pace.room or (writes and self._store_is_behind()):
            raise _overloaded()

    async def _enter(self, request: web.Request) -> None:
        self._in_hand += 1
        request[_STAY].callback(self._leave)
        await self._begin()
        if request.method in ("GET", "HEAD"):
            await _take_turn(self._reading, request)

    async def _begin(self) -> None:
        while self._begun >= MOST_PER_ROUND:
            await asyncio.sleep(0)
        if self._begun == 0:
            self._pace.begin()
            asyncio.get_running_loop().call_soon(self._next_round)
        self._begun += 1

    def _next_round(self) -> None:
        self._begun = 0
        self._pace.end(self._in_hand)

    def _leave(self) -> None:
        self._in_hand -= 1

    async def _arrived(self, request: web.Request, body: bytearray, most: int) -> bool:
        if request.content.is_eof():  # as of most: nothing is waited for, so nothing needs a deadline
            self._take(request.content.read_nowait(), body)
            return len(body) <= most
        try:
            async with self._deadline():
                async for chunk in request.content.iter_any():
                    self._take(chunk, body)
                    if len(body) > most:
                        return False
        except TimeoutError:
            raise self._late() from None
        return True

    def _take(self, chunk: bytes, body: bytearray) -> None:
        whole = len(body) + len(chunk)
        if whole > SMALL_BODY_BYTES and self._body_bytes + len(chunk) > MOST_BODY_BYTES_IN_ALL:
            raise _overloaded()
        body += chunk
        self._body_bytes += len(chunk)

    def _put_down(self, size: int) -> None:
        self._body_bytes -= size

    def _late(self) -> PodlingError:
        if self._is_stopping:
            return _stopping()
        return RequestTimeout("the body did not arrive in time")

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        async with asyncio.timeout(0.0 if self._is_stopping else spread(BODY_SECONDS)) as deadline:
            self._arriving.add(deadline)
            try:
                yield
            finally:
                self._arriving.discard(deadline)


async def _take_turn(turns: asyncio.Semaphore, request: web.Request) -> None:
    """Take one for the rest of the request. Raises Unavailable if it takes too long."""
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise _overloaded() from None
    request[_STAY].callback(turns.release)


def _overloaded() -> Unavailable:
    return Unavailable("too many requests wait for an answer; try again", code="overloaded")


def _stopping() -> Unavailable:
    return Unavailable("this master is stopping; ask another one, or try again", code="stopping")


_STAY: web.RequestKey[ExitStack] = web.RequestKey("stay", ExitStack)
ADMISSION: web.AppKey[Admission] = web.AppKey("admission", Admission)
