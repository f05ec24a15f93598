"""A TCP relay between two programs, which is where tests put faults into a network."""

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Line]]

CHUNK_BYTES = 64 * 1024
_BACKLOG = 512


class Way(Enum):
    UP = "up"  # from whoever dialled
    DOWN = "down"


class Over(Exception):
    """Raised by a pump: the connection ends for both, after what was written has gone."""


class Link:
    """One connection: who receives what goes each way."""

    def __init__(self, dialler: asyncio.StreamWriter) -> None:
        self.receivers = {Way.DOWN: dialler}
        self.closed_ways: set[Way] = set()
        self.node = ""  # who dialled, if the relay wants to know
        self.first = b""  # what was read to learn that
        self.serving = asyncio.current_task()

    def reset(self) -> None:
        for writer in self.receivers.values():
            with suppress(OSError):
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def half_close(self, way: Way) -> None:
        """Tell the receiver of `way` that nothing more will come; the other way stays open."""
        self.closed_ways.add(way)
        if way in self.receivers and not self.receivers[way].is_closing():
            with suppress(OSError):
                self.receivers[way].write_eof()

    def close(self) -> None:
        for writer in self.receivers.values():
            writer.close()


class Relay(ABC):
    """Listens on a free port of the loopback, or on the socket `path`; each kind has faults of its own."""

    def __init__(self, dial: Dial, path: Path | None = None) -> None:
        self.port = 0
        self.connections = 0
        self._dial = dial
        self._path = path
        self._links: set[Link] = set()

    async def open(self) -> None:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        self._server.close()
        links = tuple(self._links)
        serving = [link.serving for link in links if link.serving is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for link in links:
            link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = Link(writer)
        self._links.add(link)
        try:
            target, link.receivers[Way.UP] = await self._reach(link, reader)
            await self._run(self._pump(link, Way.UP, reader), self._pump(link, Way.DOWN, target))
            link.close()
        except Over:
            link.close()
        except (OSError, asyncio.IncompleteReadError):
            link.reset()  # either side may go at any time: that is what a relay is for
        finally:
            self._links.discard(link)

    async def _run(self, *pumps: Awaitable[None]) -> None:
        """Let both go on until the end, or until one fails."""
        running = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            await asyncio.gather(*running)
        finally:
            for pump in running:
                pump.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _reach(self, link: Link, reader: asyncio.StreamReader) -> Line:
        """Make the connection to the other side. Raises OSError to refuse whoever has dialled."""
        return await self._dial()

    @abstractmethod
    async def _pump(self, link: Link, way: Way, reader: asyncio.StreamReader) -> None:
        """Pass on what comes, until it ends."""
