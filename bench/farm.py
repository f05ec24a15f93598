"""Many simulated workers in one process: each speaks the worker protocol and ends what it is given.

`python -m bench.farm --master URL --workers N --slots M` prints a JSON line four times a second:
how many attempts have been acknowledged as ended, and how long the last reports waited for that.
"""

import argparse
import asyncio
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count

import aiohttp
import orjson
import uvloop

from podling.core.protocol import PROTOCOL_VERSION, Assignment, Report, ReportKind
from podling.wire.session import (
    Assign,
    BeatAcknowledged,
    BeatMessage,
    Desired,
    Goodbye,
    Hello,
    Reports,
    ReportsAcknowledged,
    Welcome,
    pack,
    unpack,
)

TELL_SECONDS = 0.25
MOST_WAITS = 100_000


class Count:
    """What all workers of this process have done."""

    def __init__(self) -> None:
        self.ended = 0
        self.beats_missed = 0
        self.waits: deque[float] = deque(maxlen=MOST_WAITS)

    def tell(self) -> None:
        waits, self.waits = self.waits, deque(maxlen=MOST_WAITS)
        line = {
            "at": time.monotonic(),
            "ended": self.ended,
            "missed": self.beats_missed,
            "waits": [round(wait * 1000, 2) for wait in waits],
        }
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
        sys.stdout.buffer.flush()


class Worker:
    """One session; an attempt ends as soon as it is assigned, unless `holds` says that it goes on."""

    def __init__(self, node_id: str, slots: int, counted: Count, *, holds: bool) -> None:
        self._node_id = node_id
        self._slots = slots
        self._count = counted
        self._holds = holds
        self._numbers = count(1)
        self._sent: dict[int, float] = {}
        self._unanswered: dict[int, float] = {}
        self._due: list[Report] = []
        self._news = asyncio.Event()

    async def run(self, http: aiohttp.ClientSession, url: str) -> None:
        address = f"{url}/api/v1/nodes/{self._node_id}/session"
        async with http.ws_connect(address, max_msg_size=0) as socket:
            await socket.send_str(pack(self._hello()))
            welcome = unpack(await socket.receive_str())
            if not isinstance(welcome, Welcome):
                raise RuntimeError(f"{self._node_id} was not admitted: {welcome}")
            self._take(welcome.desired.assign)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(socket))
                group.create_task(self._report(socket))
                group.create_task(self._beat(socket, welcome.lease_seconds))

    def _hello(self) -> Hello:
        capacity = {"cpu": 1_000_000, "memory": 1 << 40, "slots": self._slots}
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            instance=self._node_id,
            hostname=self._node_id,
            port=8071,
            capacity=capacity,
            allocatable=capacity,
            runtimes=("simulated",),
            starts_afresh=True,
        )

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            match unpack(await socket.receive_str()):
                case Assign(items=items) | Desired(assign=items):
                    self._take(items)
                case ReportsAcknowledged(outcomes=outcomes):
                    self._acknowledge(outcomes)
                case BeatAcknowledged(counter=counter):
                    self._unanswered = {n: at for n, at in self._unanswered.items() if n > counter}
                case Goodbye(reason=reason):
                    raise RuntimeError(f"{self._node_id} was sent away: {reason}")

    def _take(self, items: Sequence[Assignment]) -> None:
        if not self._holds:
            now = datetime.now(UTC)
            self._due += [self._end(item, now) for item in items]
            self._news.set()

    def _end(self, item: Assignment, now: datetime) -> Report:
        return Report(
            sequence=next(self._numbers),
            task_id=item.task_id,
            attempt=item.attempt,
            kind=ReportKind.ENDED,
            at=now,
            started_at=now,
            finished_at=now,
            exit_code=0,
        )

    def _acknowledge(self, sequences: Iterable[int]) -> None:
        now = time.monotonic()
        for sequence in sequences:
            self._count.waits.append(now - self._sent.pop(sequence))
            self._count.ended += 1

    async def _report(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            due, self._due = self._due, []
            now = time.monotonic()
            self._sent.update((report.sequence, now) for report in due)
            await socket.send_str(pack(Reports(items=tuple(due))))

    async def _beat(self, socket: aiohttp.ClientWebSocketResponse, lease_seconds: float) -> None:
        for counter in count(1):
            now = time.monotonic()
            late = [number for number, at in self._unanswered.items() if now - at > lease_seconds]
            self._count.beats_missed += len(late)
            for number in late:
                del self._unanswered[number]
            self._unanswered[counter] = now
            await socket.send_str(pack(BeatMessage(counter=counter)))
            await asyncio.sleep(lease_seconds / 3)


async def farm(url: str, workers: int, slots: int, prefix: str, holds: bool) -> None:
    """Run until killed; a worker that is sent away ends it all."""
    counted = Count()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
        for number in range(workers):
            worker = Worker(f"{prefix}-{number}", slots, counted, holds=holds)
            group.create_task(worker.run(http, url))
        while True:
            await asyncio.sleep(TELL_SECONDS)
            counted.tell()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.farm", description=__doc__)
    parser.add_argument("--master", required=True)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--prefix", default="sim")
    parser.add_argument("--holds", action="store_true", help="never end what is assigned")
    given = parser.parse_args()
    uvloop.run(farm(given.master, given.workers, given.slots, given.prefix, given.holds))


if __name__ == "__main__":
    main()
