"""Log streams: a worker is asked over its session, and dials in on a connection of its own."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from podling.core.errors import DeadlineExceeded, Unavailable
from podling.core.token import hash_secret
from podling.wire.session import OpenStream

Send = Callable[[OpenStream], Awaitable[None]]

DIAL_SECONDS = 5.0
STOPPING = "this master is stopping"
"""What the task is told that is ended for it."""

MOST_WAITING = 64  # messages a slow reader may leave in memory; then the worker has to wait


@dataclass(eq=False, slots=True)
class Stream:
    """What arrives for one reader; None ends it, a sentence says why it ended early."""

    stream_id: str
    taken: bool = False  # somebody has dialled, and nobody else may
    dialled: asyncio.Event = field(default_factory=asyncio.Event)
    frames: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    refused: str | None = None
    broken: bool = False  # the worker's connection ended before its log did
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, frames: bytes | None) -> bool:
        """Hand frames over, waiting for the reader; False if it has gone."""
        put = asyncio.ensure_future(self.frames.put(frames))
        gone = asyncio.ensure_future(self.closed.wait())
        await asyncio.wait({put, gone}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (put, gone):
            waiting.cancel()
        return not self.closed.is_set()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what the worker sends until it ends."""
        while (frames := await self.frames.get()) is not None:
            yield frames


class Streams:
    """The streams that readers of this master wait for, by the hashes of their names.

    Who dials in is let in for the name alone; how long a look-up takes tells nothing about it.
    """

    def __init__(self) -> None:
        self._open: dict[str, Stream] = {}
        self._readers: set[asyncio.Task[Any]] = set()

    def get(self, stream_id: str) -> Stream | None:
        return self._open.get(hash_secret(stream_id))

    def refuse(self, stream_id: str, error: str) -> None:
        if stream := self.get(stream_id):
            stream.refused = error
            stream.dialled.set()

    def end_all(self) -> None:
        """Let every reader go, so that the master can stop."""
        for reader in self._readers:
            reader.cancel(STOPPING)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the running task among the readers."""
        reader = asyncio.current_task()
        assert reader is not None
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)

    @asynccontextmanager
    async def ask(self, send: Send, request: OpenStream) -> AsyncIterator[Stream]:
        """Ask a worker, by `send`, for a stream and wait until it has dialled in.

        Raises DeadlineExceeded if it does not, and Unavailable if it refuses, or cannot be asked.
        """
        stream = Stream(secrets.token_urlsafe(24))
        key = hash_secret(stream.stream_id)
        self._open[key] = stream
        path = f"/api/v1/streams/{stream.stream_id}"
        try:
            await send(replace(request, stream_id=stream.stream_id, path=path))
            await _dialled(stream)
            yield stream
        finally:
            stream.closed.set()
            del self._open[key]


async def _dialled(stream: Stream) -> None:
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            await stream.dialled.wait()
    except TimeoutError:
        raise DeadlineExceeded("the worker did not answer in time") from None
    if stream.refused is not None:
        raise Unavailable(stream.refused)
