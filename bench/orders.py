"""What the bench's own programs share: a line of JSON now and then, and orders on standard input.

The end of standard input is the end of the bench, however it ended, and so the end of its programs.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

TELL_SECONDS = 0.25
MOST_WAITS = 100_000


class Waits:
    """How long things took, in milliseconds once they are told."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=MOST_WAITS)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def take(self) -> list[float]:
        """Return those since the last time."""
        taken, self._seconds = self._seconds, deque(maxlen=MOST_WAITS)
        return [round(seconds * 1000, 2) for seconds in taken]


def tell(**line: Any) -> None:
    """Write one line; `waits` are lists by name."""
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()


async def orders() -> AsyncIterator[list[str]]:
    """Yield the words of each order until the bench has ended."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line.decode().split()


def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
