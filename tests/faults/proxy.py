"""A relay that delays, holds, doubles, cuts and half-closes, or falls silent, as a test tells it.

It runs in a thread of its own. What passes is cut into messages: whole frames once a connection
has become a WebSocket, and whatever a read gives before that. So a test can do something to one
report and leave the beats alone.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.relay import CHUNK_BYTES, Line, Link, Relay, Way

T = TypeVar("T")

CALL_SECONDS = 10.0
HOLD_SECONDS = 30.0
_UPGRADE = re.compile(rb"^upgrade: *websocket", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Message:
    """`raw` as it passes; `text` is what it says, which a masked frame hides."""

    raw: bytes
    text: bytes


class Cut(Exception):
    """Raised by a rule: the connection ends, after this much of the message has passed."""

    def __init__(self, rest: bytes = b"") -> None:
        self.rest = rest


Rule = Callable[[Message], Sequence[bytes]]
Dial = Callable[[], socket.socket]


def unchanged(message: Message) -> Sequence[bytes]:
    return (message.raw,)


class Hold:
    """A message that contains `pattern` waits here: for the test to let it pass, or to drop it."""

    def __init__(self, pattern: bytes) -> None:
        self.pattern = re.compile(pattern)
        self._reached = threading.Event()
        self._decided = threading.Event()
        self._passes = False

    def wait(self, seconds: float = HOLD_SECONDS) -> None:
        assert self._reached.wait(seconds), f"nothing like {self.pattern.pattern!r} has come"

    def release(self) -> None:
        self._passes = True
        self._decided.set()

    def drop(self) -> None:
        """End its connection without having passed it on."""
        self._decided.set()

    async def decide(self) -> None:
        self._reached.set()
        await asyncio.to_thread(self._decided.wait, HOLD_SECONDS)
        if not self._passes:
            raise Cut


class Proxy(Relay):
    """`target` is a port of this machine or the path of a socket, unless `dial` makes connections."""

    def __init__(
        self, target: int | Path | None = None, *, path: Path | None = None, dial: Dial | None = None
    ) -> None:
        super().__init__(partial(_connect, target, dial), path)
        self.delay_seconds = 0.0
        self.rules: dict[Way, Rule] = {Way.UP: unchanged, Way.DOWN: unchanged}
        self._holds: dict[Way, list[Hold]] = {Way.UP: [], Way.DOWN: []}
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # What a test does to it

    def hold(self, way: Way, pattern: bytes) -> Hold:
        """Let the next message that contains `pattern` wait; others pass meanwhile on other lines."""
        hold = Hold(pattern)
        self._holds[way].append(hold)
        return hold

    def reset(self) -> None:
        """End every connection as a crash of the machine between would."""
        self._each(Link.reset)

    def half_close(self, way: Way) -> None:
        """Let every connection's one direction end, and the other go on."""
        self._each(lambda link: link.half_close(way))

    def silence(self) -> None:
        """Keep back whatever comes, and tell nobody; it arrives after all when the line is healed."""
        self._loop.call_soon_threadsafe(self._is_open.clear)

    def heal(self) -> None:
        """Let everything pass unchanged again."""
        self._loop.call_soon_threadsafe(self._is_open.set)
        self.delay_seconds = 0.0
        self.rules = {Way.UP: unchanged, Way.DOWN: unchanged}
        for holds in self._holds.values():
            holds.clear()

    def _each(self, act: Callable[[Link], None]) -> None:
        async def act_on_all() -> None:
            for link in tuple(self._links):
                act(link)

        self._call(act_on_all())

    # Its life

    def start(self) -> None:
        self._thread.start()
        self._call(self.open())

    def stop(self) -> None:
        for holds in self._holds.values():
            for hold in holds:
                hold.drop()
        self._call(self.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    # A connection

    async def _reach(self, link: Link, reader: asyncio.StreamReader) -> Line:
        await self._is_open.wait()
        return await super()._reach(link, reader)

    async def _pump(self, link: Link, way: Way, reader: asyncio.StreamReader) -> None:
        queue: asyncio.Queue[tuple[float, Message | None]] = asyncio.Queue(1000)
        passing = asyncio.create_task(self._pass_on(link, way, queue))
        try:
            splitter = Splitter()
            while data := await reader.read(CHUNK_BYTES):
                for message in splitter.feed(data):
                    await queue.put((self._loop.time() + self.delay_seconds, message))
            await queue.put((self._loop.time() + self.delay_seconds, None))
            await passing
        finally:
            passing.cancel()

    async def _pass_on(
        self, link: Link, way: Way, queue: asyncio.Queue[tuple[float, Message | None]]
    ) -> None:
        receiver = link.receivers[way]
        try:
            while True:
                due, message = await queue.get()
                await asyncio.sleep(due - self._loop.time())
                await self._is_open.wait()
                if message is None:
                    break
                await self._held(way, message)
                for raw in self.rules[way](message):
                    if way not in link.closed_ways:
                        receiver.write(raw)
                await receiver.drain()
            link.half_close(way)
        except Cut as cut:
            receiver.write(cut.rest)
            await receiver.drain()
            link.close()
        except OSError:
            link.reset()

    async def _held(self, way: Way, message: Message) -> None:
        for hold in self._holds[way]:
            if hold.pattern.search(message.text):
                self._holds[way].remove(hold)
                await hold.decide()
                return


async def _connect(target: int | Path | None, dial: Dial | None) -> Line:
    if dial is not None:
        return await asyncio.open_connection(sock=await asyncio.to_thread(dial))
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection("127.0.0.1", target)


class Splitter:
    """Cuts one direction of a connection into messages."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_framed = False

    def feed(self, data: bytes) -> Iterator[Message]:
        data = self._rest + data
        self._rest = b""
        if not self._is_framed:
            head, end, after = data.partition(b"\r\n\r\n")
            if not end or not _UPGRADE.search(head):
                yield Message(data, data)
                return
            self._is_framed = True
            yield Message(head + end, head)
            data = after
        while (length := _frame_length(data)) is not None:
            frame, data = data[:length], data[length:]
            yield Message(frame, _text_of(frame))
        self._rest = data


def _frame_length(data: bytes) -> int | None:
    """Return how long the frame at the beginning is; None if it is not whole yet."""
    if len(data) < 2:
        return None
    begin, payload = _payload_of(data)
    length = begin + payload
    return length if len(data) >= length else None


def _payload_of(frame: bytes) -> tuple[int, int]:
    """Return where a frame's payload begins, and its length."""
    short = frame[1] & 0x7F
    wide = {126: 2, 127: 8}.get(short, 0)
    begin = 2 + wide + (4 if frame[1] & 0x80 else 0)
    return begin, int.from_bytes(frame[2 : 2 + wide], "big") if wide else short


def _text_of(frame: bytes) -> bytes:
    begin, _ = _payload_of(frame)
    payload = frame[begin:]
    if not frame[1] & 0x80:
        return payload
    mask = (frame[begin - 4 : begin] * (len(payload) // 4 + 1))[: len(payload)]
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return hidden.to_bytes(len(payload), "big")


@contextmanager
def proxy(
    target: int | Path | None = None, *, path: Path | None = None, dial: Dial | None = None
) -> Iterator[Proxy]:
    """Give a running proxy."""
    between = Proxy(target, path=path, dial=dial)
    between.start()
    try:
        yield between
    finally:
        between.stop()
