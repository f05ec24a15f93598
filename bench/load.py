"""A lean HTTP load: some connections, each asks, waits for the answer, asks again.

`python -m bench.load --port N --connections C --batch B` submits simulated tasks, alone (B = 1) or B
at a time, and prints a JSON line four times a second: tasks accepted, and the waits for each answer.
`--shapes N` has them ask for N different amounts of CPU in turn, `--queues N` go to as many queues,
and `--spec JSON` sets further fields.
A line `limit N` on its standard input is the number of tasks it may have submitted in all by then.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import count, cycle, islice
from typing import Any

import orjson
import uvloop

from bench.orders import TELL_SECONDS, Waits, cancel_all, orders, tell

SPEC = {"name": "bench", "runtime": "simulated", "image": "none"}


class Load:
    """Connections that share one count, one limit, and the specs that they submit in turn."""

    def __init__(
        self, port: int, batch: int, limit: int, specs: Sequence[Mapping[str, Any]], keyed: bool
    ) -> None:
        self._port = port
        self._batch = batch
        self._limit = limit
        self._specs = cycle(specs)
        self._keyed = keyed
        self._more = asyncio.Event()
        self._keys = count(1)
        self._begun = 0
        self._accepted = 0
        self._refused = 0
        self._waits = Waits()

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
            accepted = await _accepted(reader)
            self._waits.add(time.perf_counter() - begin)
            if accepted:
                self._accepted += self._batch
            else:
                self._refused += self._batch

    def _request(self) -> bytes:
        path, body = "/api/v1/tasks", self._body()
        data = orjson.dumps(body)
        path += ":batch" if self._batch > 1 else ""
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    def _body(self) -> Mapping[str, Any]:
        if self._batch > 1:
            return {"tasks": list(islice(self._specs, self._batch))}
        spec = next(self._specs)
        return {**spec, "idempotencyKey": f"bench-{next(self._keys)}"} if self._keyed else spec

    def tell(self) -> None:
        tell(accepted=self._accepted, refused=self._refused, waits={"answer": self._waits.take()})


def variants(shapes: int, queues: int, more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return specs such that every shape and every queue comes as often as the others."""
    specs = [dict(SPEC, **more) for _ in range(max(shapes, queues))]
    for number, spec in enumerate(specs):
        if shapes > 1:
            spec["resources"] = {"requests": {"cpu": f"{number % shapes + 1}m"}}
        if queues > 1:
            spec["queue"] = f"bench-{number % queues}"
    return specs


async def _accepted(reader: asyncio.StreamReader) -> bool:
    """Read one answer; return whether all of it was accepted."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(length)
    return int(lines[0].split()[1]) in (200, 201) and b'{"error":' not in body


async def run(load: Load, connections: int) -> None:
    """Submit until the bench has ended."""

    async def report() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            load.tell()

    async with asyncio.TaskGroup() as group:
        works = [group.create_task(load.run()) for _ in range(connections)]
        works.append(group.create_task(report()))
        async for _, limit in orders():
            load.allow(int(limit))
        cancel_all(works)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--limit", type=int, default=1 << 62)
    parser.add_argument("--shapes", type=int, default=1)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--spec", type=orjson.loads, default={})
    parser.add_argument("--keyed", action="store_true", help="with an idempotency key each")
    given = parser.parse_args()
    specs = variants(given.shapes, given.queues, given.spec)
    uvloop.run(run(Load(given.port, given.batch, given.limit, specs, given.keyed), given.connections))


if __name__ == "__main__":
    main()
