"""A TCP relay between workers and masters, or masters and PostgreSQL, that can spoil connections."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

Opener = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

EVERYBODY = "*"
DELAY_SECONDS = 0.3
_CHUNK_BYTES = 64 * 1024
_NODE = re.compile(rb"/nodes/([^/ ?]+)/")
_BROKEN = (OSError, asyncio.IncompleteReadError)


class Spoiling(StrEnum):
    """What happens to the connections of one node; `up` is from the one who dialled."""

    CUT = "cut"  # ended, and new ones refused
    PARTITION = "partition"  # nothing passes, nobody is told
    ONE_WAY_UP = "one way up"  # what goes up is held back
    ONE_WAY_DOWN = "one way down"
    DELAY = "delay"
    HALF_CLOSE = "half-close"  # upstream sees the end; the other direction stays open
    LOSE_REPLIES = "lost replies"  # what comes down is thrown away, then the connection is ended


_HOLDS_UP = (Spoiling.PARTITION, Spoiling.ONE_WAY_UP)
_HOLDS_DOWN = (Spoiling.PARTITION, Spoiling.ONE_WAY_DOWN)


@dataclass(eq=False, slots=True)
class _Link:
    """One connection through the relay; `node` is known once its first request has named it."""

    down: asyncio.StreamWriter
    up: asyncio.StreamWriter | None = None
    node: str = ""
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def abort(self) -> None:
        for writer in (self.down, self.up):
            if writer is not None:
                writer.transport.abort()


class Relay:
    """Listens on a loopback port of its own and passes everything on to `upstream`."""

    def __init__(self, upstream: Opener) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._rules: dict[str, Spoiling] = {}
        self._changed = asyncio.Event()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            for task in link.tasks:
                task.cancel()
            link.abort()

    def spoil(self, node: str, spoiling: Spoiling) -> None:
        """Let it happen to the connections of this node, those that are open and those to come."""
        self._rules[node] = spoiling
        for link in self._of(node):
            if spoiling is Spoiling.CUT:
                link.abort()
            elif spoiling is Spoiling.HALF_CLOSE and link.up is not None and link.up.can_write_eof():
                with suppress(*_BROKEN):
                    link.up.write_eof()
        self._wake()

    def heal(self, node: str) -> None:
        """Let the node's connections pass again; those that have missed something are ended."""
        spoiling = self._rules.pop(node, None)
        if spoiling in (Spoiling.LOSE_REPLIES, Spoiling.HALF_CLOSE):
            for link in self._of(node):
                link.abort()
        self._wake()

    def _of(self, node: str) -> list[_Link]:
        return [link for link in self._links if node in (EVERYBODY, link.node)]

    def _rule(self, link: _Link) -> Spoiling | None:
        return self._rules.get(link.node) or self._rules.get(EVERYBODY)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(down=writer)
        self._links.add(link)
        task = asyncio.current_task()
        assert task is not None
        link.tasks.add(task)
        try:
            await self._relay(link, reader)
        except _BROKEN:
            pass  # either side may go at any time: that is what a relay is for
        finally:
            self._links.discard(link)
            link.abort()

    async def _relay(self, link: _Link, reader: asyncio.StreamReader) -> None:
        first = await reader.read(_CHUNK_BYTES)
        if found := _NODE.search(first[:400]):
            link.node = found[1].decode(errors="replace")
        if self._rule(link) is Spoiling.CUT:
            return
        upstream, link.up = await self._upstream()
        link.up.write(first) if await self._may_pass(link, goes_up=True) else None
        pumps = {
            asyncio.create_task(self._pump(link, reader, link.up, goes_up=True)),
            asyncio.create_task(self._pump(link, upstream, link.down, goes_up=False)),
        }
        link.tasks |= pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, goes_up: bool
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if await self._may_pass(link, goes_up=goes_up):
                writer.write(chunk)
                await writer.drain()
        if not goes_up or self._rule(link) is Spoiling.HALF_CLOSE:
            raise ConnectionResetError("upstream has gone")
        writer.write_eof()

    async def _may_pass(self, link: _Link, *, goes_up: bool) -> bool:
        """Wait while this direction is held; return whether the bytes are to be passed on at all."""
        holding = _HOLDS_UP if goes_up else _HOLDS_DOWN
        while self._rule(link) in holding:
            await self._changed.wait()
        match self._rule(link):
            case Spoiling.DELAY:
                await asyncio.sleep(DELAY_SECONDS)
            case Spoiling.LOSE_REPLIES:
                return goes_up
            case Spoiling.HALF_CLOSE:
                return not goes_up
        return True
