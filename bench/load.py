"""A lean HTTP load: some connections, each asks, waits for the answer, asks again.

`python -m bench.load --port N --connections C --batch B` submits simulated tasks, alone (B = 1) or B
at a time, and prints a JSON line four times a second: tasks accepted, and the waits for each answer.
A line `limit N` on its standard input is the number of tasks it may have submitted in all by then.
"""

import argparse
import asyncio
import sys
import time
from collections import deque
from itertools import count

import orjson
import uvloop

TELL_SECONDS = 0.25
SPEC = {"name": "bench", "runtime": "simulated", "image": "none"}


class Load:
    """Connections that share one count and one limit."""

    def __init__(self, port: int, batch: int, limit: int, keyed: bool) -> None:
        self._port = port
        self._batch = batch
        self._limit = limit
        self._keyed = keyed
        self._more = asyncio.Event()
        self._keys = count(1)
        self._begun = 0
        self.accepted = 0
        self.refused = 0
        self.waits: deque[float] = deque()

    def allow(self, limit: int) -> None:
        self._limit = limit
        self._more.set()

    async def run(self) -> None:
        """Submit over one connection for ever."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            while self._begun + self._batch > self._limit:
                self._more.clear()
                await self._more.wait()
            self._begun += self._batch
            begin = time.perf_counter()
            writer.write(self._request())
            status = await _answer(reader)
            self.waits.append(time.perf_counter() - begin)
            if status in (200, 201):
                self.accepted += self._batch
            else:
                self.refused += self._batch

    def _request(self) -> bytes:
        path = "/api/v1/tasks"
        body = SPEC | ({"idempotencyKey": f"bench-{next(self._keys)}"} if self._keyed else {})
        if self._batch > 1:
            path, body = f"{path}:batch", {"tasks": [body] * self._batch}
        data = orjson.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    def tell(self) -> None:
        waits, self.waits = self.waits, deque()
        line = {
            "at": time.monotonic(),
            "accepted": self.accepted,
            "refused": self.refused,
            "waits": [round(wait * 1000, 2) for wait in waits],
        }
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
        sys.stdout.buffer.flush()


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def _obey(load: Load) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        load.allow(int(line.split()[1]))


async def run(port: int, connections: int, batch: int, limit: int, keyed: bool) -> None:
    load = Load(port, batch, limit, keyed)
    async with asyncio.TaskGroup() as group:
        group.create_task(_obey(load))
        for _ in range(connections):
            group.create_task(load.run())
        while True:
            await asyncio.sleep(TELL_SECONDS)
            load.tell()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--limit", type=int, default=1 << 62)
    parser.add_argument("--keyed", action="store_true", help="with an idempotency key each")
    given = parser.parse_args()
    uvloop.run(run(given.port, given.connections, given.batch, given.limit, given.keyed))


if __name__ == "__main__":
    main()
