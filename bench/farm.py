"""Many simulated workers in one process: each speaks the worker protocol and ends what it is given.

`python -m bench.farm --master URL --workers N --slots M` prints a JSON line four times a second: how
many are connected, how many attempts have been acknowledged as ended, how many beats were not
answered within the lease, how many sessions were lost, and the waits for answers to reports and beats.
"""

import argparse
import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import count

import aiohttp
import uvloop

from bench.orders import TELL_SECONDS, Waits, cancel_all, orders, tell
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

CONNECT_AT_ONCE = 20
RECONNECT_SECONDS = 1.0


class SessionLost(Exception):
    """The master has sent a worker away, or does not answer it any more."""


class Count:
    """What all workers of this process have done."""

    def __init__(self) -> None:
        self.connected = 0
        self.ended = 0
        self.missed = 0
        self.lost = 0
        self.reports = Waits()
        self.beats = Waits()

    def tell(self) -> None:
        tell(
            connected=self.connected,
            ended=self.ended,
            missed=self.missed,
            lost=self.lost,
            waits={"report": self.reports.take(), "beat": self.beats.take()},
        )


class Runs:
    """For how many seconds attempts run: 0 reports start and end together, inf never ends.

    Those that are held run on until `go`, after which they end evenly within as many seconds.
    """

    def __init__(self, seconds: float, held: bool = False) -> None:
        self.at_once = not seconds
        self._seconds = seconds
        self._held: list[Callable[[], None]] | None = [] if held else None

    def end_later(self, end: Callable[[], None]) -> None:
        if self._held is not None:
            self._held.append(end)
        elif math.isfinite(self._seconds):
            asyncio.get_running_loop().call_later(self._seconds, end)

    def go(self) -> None:
        held, self._held = self._held or [], None
        for number, end in enumerate(held):
            asyncio.get_running_loop().call_later(self._seconds * number / len(held), end)


class Worker:
    """A node of so many slots."""

    def __init__(self, node_id: str, slots: int, runs: Runs, counted: Count) -> None:
        self._node_id = node_id
        self._slots = slots
        self._runs = runs
        self._count = counted

    async def run(self, http: aiohttp.ClientSession, url: str, gate: asyncio.Semaphore) -> None:
        """Be connected until cancelled; a lost session is counted, and another one follows."""
        while True:
            try:
                await self._live(http, url, gate)
            except* (SessionLost, aiohttp.ClientError, OSError):
                self._count.lost += 1
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _live(self, http: aiohttp.ClientSession, url: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            address = f"{url}/api/v1/nodes/{self._node_id}/session"
            socket = await http.ws_connect(address, max_msg_size=0)
            await socket.send_str(pack(self._hello()))
            welcome = await _receive(socket)
        if not isinstance(welcome, Welcome):
            raise SessionLost(welcome)
        self._count.connected += 1
        try:
            await Session(socket, self._runs, self._count).run(welcome)
        finally:
            self._count.connected -= 1
            await socket.close()

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


class Session:
    """One connection, from its welcome on."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, runs: Runs, counted: Count) -> None:
        self._socket = socket
        self._runs = runs
        self._count = counted
        self._numbers = count(1)
        self._sent: dict[int, float] = {}
        self._unanswered: dict[int, float] = {}
        self._due: list[Report] = []
        self._news = asyncio.Event()

    async def run(self, welcome: Welcome) -> None:
        self._take(welcome.desired.assign)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._report())
            group.create_task(self._beat(welcome.lease_seconds))

    async def _read(self) -> None:
        while True:
            match await _receive(self._socket):
                case Assign(items=items) | Desired(assign=items):
                    self._take(items)
                case ReportsAcknowledged(outcomes=outcomes):
                    self._acknowledge(outcomes)
                case BeatAcknowledged(counter=counter):
                    self._answered(counter)
                case Goodbye() as goodbye:
                    raise SessionLost(goodbye.reason)

    def _take(self, items: Sequence[Assignment]) -> None:
        if not items:
            return
        now = datetime.now(UTC)
        if self._runs.at_once:
            self._end(items, now)
        else:
            self._tell([self._news_of(item, ReportKind.RUNNING, now, now) for item in items])
            self._runs.end_later(partial(self._end, items, now))

    def _end(self, items: Sequence[Assignment], started: datetime) -> None:
        now = datetime.now(UTC)
        self._tell([self._news_of(item, ReportKind.ENDED, now, started) for item in items])

    def _news_of(self, item: Assignment, kind: ReportKind, now: datetime, started: datetime) -> Report:
        ended = kind is ReportKind.ENDED
        return Report(
            sequence=next(self._numbers) * 2 + ended,  # an odd one is an end
            task_id=item.task_id,
            attempt=item.attempt,
            kind=kind,
            at=now,
            started_at=started,
            finished_at=now if ended else None,
            exit_code=0 if ended else None,
        )

    def _tell(self, reports: list[Report]) -> None:
        self._due += reports
        self._news.set()

    def _acknowledge(self, sequences: Iterable[int]) -> None:
        now = time.monotonic()
        for sequence in sequences:
            self._count.reports.add(now - self._sent.pop(sequence))
            self._count.ended += sequence % 2

    async def _report(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            due, self._due = self._due, []
            now = time.monotonic()
            self._sent.update((report.sequence, now) for report in due)
            await self._socket.send_str(pack(Reports(items=tuple(due))))

    async def _beat(self, lease_seconds: float) -> None:
        for counter in count(1):
            now = time.monotonic()
            late = [number for number, at in self._unanswered.items() if now - at > lease_seconds]
            self._count.missed += len(late)
            for number in late:
                del self._unanswered[number]
            self._unanswered[counter] = now
            await self._socket.send_str(pack(BeatMessage(counter=counter)))
            await asyncio.sleep(lease_seconds / 3)

    def _answered(self, counter: int) -> None:
        now = time.monotonic()
        for number in [number for number in self._unanswered if number <= counter]:
            self._count.beats.add(now - self._unanswered.pop(number))


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> object:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise SessionLost(message.data)
    return unpack(message.data)


async def farm(url: str, workers: Sequence[Worker], runs: Runs, counted: Count) -> None:
    """Run until the bench has ended."""

    async def report() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            counted.tell()

    gate = asyncio.Semaphore(CONNECT_AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
        lives = [group.create_task(worker.run(http, url, gate)) for worker in workers]
        lives.append(group.create_task(report()))
        async for _ in orders():
            runs.go()
        cancel_all(lives)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.farm", description=__doc__)
    parser.add_argument("--master", required=True)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--prefix", default="sim")
    parser.add_argument("--run-seconds", type=float, default=0.0, help="how long each attempt runs; inf")
    parser.add_argument("--held", action="store_true", help="they run on until a line on standard input")
    given = parser.parse_args()
    counted, runs = Count(), Runs(given.run_seconds, given.held)
    workers = [
        Worker(f"{given.prefix}-{number}", given.slots, runs, counted) for number in range(given.workers)
    ]
    uvloop.run(farm(given.master, workers, runs, counted))


if __name__ == "__main__":
    main()
