"""A program that floods a master: clients that drip, and clients that submit without a pause.

`python -m tests.faults.flood PORT SLOW SUBMITTERS SECONDS` prints a line when all slow clients are
there, then what came of it as JSON: how often each status, and which 429 and 503 had no Retry-After.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from uuid import uuid4

import aiohttp

from podling.kit.descriptors import allow_many

DRIP_SECONDS = 1.0
AT_ONCE = 100  # connections that are opened together
_HEAD = b"GET /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-A: "
_BODY = b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{"


class Flood:
    def __init__(self, port: int) -> None:
        self._port = port
        self._opening = asyncio.Semaphore(AT_ONCE)
        self.slow = 0
        self.cut = 0
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0

    async def drip(self, start: bytes) -> None:
        """Send a byte a second, and come again when that is cut off."""
        while True:
            with suppress(OSError):
                async with self._opening:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    await self._drip(start, reader, writer)
                finally:
                    writer.close()

    async def _drip(self, start: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.slow += 1
        try:
            writer.write(start)
            ended = asyncio.ensure_future(reader.read(1))
            while not (await asyncio.wait([ended], timeout=DRIP_SECONDS))[0]:
                writer.write(b"x")
            self.cut += 1
        finally:
            ended.cancel()
            self.slow -= 1

    async def submit(self, http: aiohttp.ClientSession) -> None:
        """Submit again and again, whatever the answer is."""
        while True:
            body = json.dumps({"name": "flood", "image": "none", "idempotencyKey": str(uuid4())}).encode()
            try:
                async with http.post(f"http://127.0.0.1:{self._port}/api/v1/tasks", data=body) as answer:
                    await answer.read()
            except aiohttp.ClientError:
                self.statuses[0] += 1
                continue
            self.statuses[answer.status] += 1
            if answer.status in (429, 503) and "Retry-After" not in answer.headers:
                self.without_retry_after += 1


async def run(port: int, slow: int, submitters: int, seconds: float) -> None:
    flood = Flood(port)
    dripping = [asyncio.create_task(flood.drip(_BODY if n % 4 == 0 else _HEAD)) for n in range(slow)]
    async with asyncio.timeout(60):
        while flood.slow < slow:
            await asyncio.sleep(0.1)
    print("ready", flush=True)  # noqa: T201 - what this program is for
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as http:
        submitting = [asyncio.create_task(flood.submit(http)) for _ in range(submitters)]
        await asyncio.sleep(seconds)
        for task in (*submitting, *dripping):
            task.cancel()
        await asyncio.gather(*submitting, *dripping, return_exceptions=True)
    told = {
        "statuses": flood.statuses,
        "cut": flood.cut,
        "without_retry_after": flood.without_retry_after,
    }
    print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    allow_many()
    os.nice(5)  # real clients would not share the master's processors
    port, slow, submitters = (int(text) for text in sys.argv[1:4])
    asyncio.run(run(port, slow, submitters, float(sys.argv[4])))
