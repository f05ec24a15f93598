"""Wires between hosts: late, cut both ways or one way, and, if the world wants it, worse than TCP."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from podling.core.errors import Unavailable
from podling.core.protocol import PROTOCOL_VERSION
from podling.wire.session import pack, unpack
from tests.sim.loop import SimulatedLoop
from tests.sim.story import Story

TRY_AGAIN_SECONDS = 0.4  # how often a cut wire is tried again

Accept = Callable[["End"], None]


class End:
    """One host's end of a connection; what `send` takes arrives at the other end, in order."""

    def __init__(self, network: "Network", host: str, peer_host: str) -> None:
        self.network = network
        self.host = host
        self.peer_host = peer_host
        self.peer: End
        self.inbox: deque[str | None] = deque()
        self.is_open = True  # on this side
        self.is_gone = False  # with its host's power: nobody answers any more
        self.on_hang_up: Callable[[], None] = lambda: None
        self._wire: deque[tuple[float, str | None]] = deque()
        self._moving = False
        self._sent = 0
        self._waiting: asyncio.Future[None] | None = None

    def send(self, text: str) -> None:
        if not self.is_open:
            raise ConnectionResetError("the connection is closed")
        self._sent += 1
        for copy in self.network.mishap(text, self._wire, settled=self._sent > 1):
            self._put(copy)

    async def receive(self) -> str:
        """Return the next text. Raises Unavailable at the end."""
        while not self.inbox:
            if not self.is_open:
                raise Unavailable("the connection is closed")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        text = self.inbox.popleft()
        if text is None:
            self.inbox.append(None)
            raise Unavailable("the other side hung up")
        return text

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._put(None)

    def vanish(self) -> None:
        """Be gone without a word."""
        self.is_open = False
        self.is_gone = True
        self._wire.clear()

    def _put(self, text: str | None) -> None:
        self._wire.append((self.network.loop.time() + self.network.delay(), text))
        if not self._moving:
            self._moving = True
            self._move_later()

    def _move_later(self, least: float = 0.0) -> None:
        wait = max(self._wire[0][0] - self.network.loop.time(), least)
        self.network.loop.later(wait, self._move)

    def _move(self) -> None:
        if not self._wire:
            self._moving = False
        elif self.network.is_cut(self.host, self.peer_host):
            self._move_later(TRY_AGAIN_SECONDS)
        else:
            self.peer.arrive(self._wire.popleft()[1])
            self._moving = bool(self._wire)
            if self._moving:
                self._move_later()

    def arrive(self, text: str | None) -> None:
        if self.is_gone:
            if self.network.is_up(self.host):
                self.peer.arrive(None)  # a machine that booted anew knows nothing of it
            return
        self.network.story.tell("arrives", at=self.host, by=self.peer_host, text=(text or "end")[:90])
        self.inbox.append(text)
        if text is None:
            self.on_hang_up()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Network:
    def __init__(self, loop: SimulatedLoop, chance: random.Random, story: Story) -> None:
        self.loop = loop
        self.story = story
        self.slow_seconds = 0.0
        self.mishaps = 0.0  # the share of a session's messages that are lost, doubled or reordered
        self._chance = chance
        self._cuts: set[tuple[str, str]] = set()
        self._down: set[str] = set()
        self._listening: dict[str, Accept] = {}
        self._ends: dict[str, list[End]] = {}

    # Faults

    def cut(self, source: str, target: str) -> None:
        self._cuts.add((source, target))

    def heal(self, source: str, target: str) -> None:
        self._cuts.discard((source, target))

    def heal_all(self) -> None:
        self._cuts.clear()
        self._down.clear()
        self.slow_seconds = self.mishaps = 0.0

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cuts or source in self._down or target in self._down

    def is_up(self, host: str) -> bool:
        return host not in self._down

    def power(self, host: str, on: bool) -> None:
        if on:
            self._down.discard(host)
            return
        self._down.add(host)
        for end in self._ends.pop(host, []):
            end.vanish()

    def crash(self, host: str) -> None:
        """A program has died: its host closes what it had open."""
        self._listening.pop(host, None)
        for end in self._ends.pop(host, []):
            end.close()

    def reset_one(self, host: str) -> None:
        """Break one of the host's connections on both sides."""
        ends = [end for end in self._ends.get(host, []) if end.is_open]
        if ends:
            end = self._chance.choice(ends)
            end.close()
            end.arrive(None)
            end.peer.close()

    def mishap(self, text: str, wire: deque[tuple[float, str | None]], settled: bool) -> list[str]:
        """Return what becomes of one message on its way: as a rule, itself."""
        if not settled or self._chance.random() >= self.mishaps:
            return [text]
        match self._chance.randrange(3):
            case 0:
                self.story.fault(f"lost: {text[:60]}")
                return []
            case 1:
                self.story.fault(f"doubled: {text[:60]}")
                return [text, text]
        if wire and wire[-1][1] is not None:
            at, overtaken = wire.pop()
            wire.append((at, text))
            self.story.fault(f"reordered: {text[:60]}")
            return [overtaken]
        return [text]

    def delay(self) -> float:
        seconds = 0.0005 + self._chance.random() * 0.004
        if self._chance.random() < 0.02:
            seconds += self._chance.random() * 0.5
        return seconds + self._chance.random() * self.slow_seconds

    # Traffic

    def post(self, source: str, target: str, deliver: Callable[..., None], *arguments: Any) -> None:
        """Carry a single message; it is lost where the wire is cut."""
        if not self.is_cut(source, target):
            self.loop.later(self.delay(), self._deliver, source, target, deliver, arguments)

    def _deliver(
        self, source: str, target: str, deliver: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        if not self.is_cut(source, target):
            deliver(*arguments)

    def listen(self, host: str, accept: Accept) -> None:
        self._listening[host] = accept

    async def connect(self, source: str, target: str, patience: float) -> End:
        """Raises TimeoutError, ConnectionRefusedError."""
        async with asyncio.timeout(patience):
            await asyncio.sleep(self.delay() * 2)
            while self.is_cut(source, target) or self.is_cut(target, source):
                await asyncio.sleep(TRY_AGAIN_SECONDS)
        accept = self._listening.get(target)
        if accept is None:
            raise ConnectionRefusedError(f"nobody listens on {target}")
        here, there = End(self, source, target), End(self, target, source)
        here.peer, there.peer = there, here
        for end in (here, there):
            known = self._ends.setdefault(end.host, [])
            known[:] = [one for one in known if one.is_open]
            known.append(end)
        accept(there)
        return here


class WorkerLine:
    """The worker's port `Line`."""

    protocol_version = PROTOCOL_VERSION

    def __init__(self, end: End, watch: Callable[[Any], None], hear: Callable[[object], None]) -> None:
        self._end = end
        self._watch = watch
        self._hear = hear

    async def send(self, message: Any) -> None:
        self._watch(message)
        self._end.send(pack(message))

    async def receive(self) -> object:
        message = unpack(await self._end.receive())
        self._hear(message)
        return message

    async def close(self) -> None:
        self._end.close()


class MasterLine:
    """The master's port `Line`."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def send(self, message: Any) -> None:
        self._end.send(pack(message))

    async def receive(self) -> object:
        return unpack(await self._end.receive())
