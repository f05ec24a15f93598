"""What the long run does to connections, of one node or of everybody."""

import asyncio
import re
from enum import StrEnum

from tests.relay import CHUNK_BYTES, Dial, Line, Link, Over, Relay, Way

EVERYBODY = "*"
DELAY_SECONDS = 0.3
_NODE = re.compile(rb"/nodes/([^/ ?]+)/")


class Spoiling(StrEnum):
    """What happens to the connections of one node; `up` is from the one who dialled."""

    CUT = "cut"  # ended, and new ones refused
    PARTITION = "partition"  # nothing passes, nobody is told
    ONE_WAY_UP = "one way up"  # what goes up is held back
    ONE_WAY_DOWN = "one way down"
    DELAY = "delay"
    HALF_CLOSE = "half-close"  # upstream sees the end; the other direction stays open
    LOSE_REPLIES = "lost replies"  # what comes down is thrown away, then the connection is ended


_HELD = {
    Way.UP: (Spoiling.PARTITION, Spoiling.ONE_WAY_UP),
    Way.DOWN: (Spoiling.PARTITION, Spoiling.ONE_WAY_DOWN),
}


class SpoiledRelay(Relay):
    """Between workers and masters, or masters and PostgreSQL: spoils the connections of whom it is told."""

    def __init__(self, dial: Dial) -> None:
        super().__init__(dial)
        self._rules: dict[str, Spoiling] = {}
        self._changed = asyncio.Event()

    def spoil(self, node: str, spoiling: Spoiling) -> None:
        """Let it happen to the connections of this node, those that are open and those to come."""
        self._rules[node] = spoiling
        for link in self._of(node):
            if spoiling is Spoiling.CUT:
                link.reset()
            elif spoiling is Spoiling.HALF_CLOSE:
                link.half_close(Way.UP)
        self._wake()

    def heal(self, node: str) -> None:
        """Let the node's connections pass again; those that have missed something are ended."""
        spoiling = self._rules.pop(node, None)
        if spoiling in (Spoiling.LOSE_REPLIES, Spoiling.HALF_CLOSE):
            for link in self._of(node):
                link.reset()
        self._wake()

    def _of(self, node: str) -> list[Link]:
        return [link for link in self._links if node in (EVERYBODY, link.node)]

    def _rule(self, link: Link) -> Spoiling | None:
        return self._rules.get(link.node) or self._rules.get(EVERYBODY)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _reach(self, link: Link, reader: asyncio.StreamReader) -> Line:
        link.first = await reader.read(CHUNK_BYTES)
        if found := _NODE.search(link.first[:400]):
            link.node = found[1].decode(errors="replace")
        if self._rule(link) is Spoiling.CUT:
            raise ConnectionRefusedError(f"the line of {link.node} is cut")
        return await super()._reach(link, reader)

    async def _pump(self, link: Link, way: Way, reader: asyncio.StreamReader) -> None:
        chunk = link.first if way is Way.UP else await reader.read(CHUNK_BYTES)
        while chunk:
            if await self._may_pass(link, way):
                link.receivers[way].write(chunk)
                await link.receivers[way].drain()
            chunk = await reader.read(CHUNK_BYTES)
        if way is Way.DOWN or self._rule(link) is Spoiling.HALF_CLOSE:
            raise Over
        link.half_close(way)

    async def _may_pass(self, link: Link, way: Way) -> bool:
        """Wait while this direction is held; return whether the bytes are to be passed on at all."""
        while self._rule(link) in _HELD[way]:
            await self._changed.wait()
        match self._rule(link):
            case Spoiling.DELAY:
                await asyncio.sleep(DELAY_SECONDS)
            case Spoiling.LOSE_REPLIES:
                return way is Way.UP
            case Spoiling.HALF_CLOSE:
                return way is Way.DOWN
        return True
