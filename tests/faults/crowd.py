"""Many workers in one process: real agents and real sessions on simulated containers.

What a worker keeps on disk, and what it shows by its own API, is left out; so a thousand of them
cost less than a dozen programs.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import aiohttp

from podling.core.agent import held_attempts
from podling.core.agent_events import JournalRow
from podling.core.protocol import PROTOCOL_VERSION
from podling.kit.clock import SystemClock
from podling.wire.session import Hello
from podling.worker.admission import Admission
from podling.worker.journal import Write
from podling.worker.line import dial
from podling.worker.log_files import LogFiles
from podling.worker.logs import Logs
from podling.worker.masters import Masters
from podling.worker.runtime.simulated import SimulatedRuntime
from podling.worker.session import Session, SessionOptions
from podling.worker.shell import Shell
from podling.worker.streams import Streams
from podling.worker.tails import TailSender
from podling.worker.worker import CONNECT_SECONDS

ROOM = {"slots": 10, "cpu": 4000, "memory": 8 * 2**30}
POLL_SECONDS = 0.05
JOINS_PER_SECOND = 50


class NoJournal:
    """Keeps nothing; these workers are never started again."""

    problem: str | None = None

    def rows(self) -> tuple[JournalRow, ...]:
        return ()

    async def write(self, *writes: Write, urgent: bool = True) -> None:
        return


class Member:
    """One worker. `connected_at` are the times of all its welcomes."""

    def __init__(
        self, node_id: str, cluster_id: str, masters: Sequence[str], http: aiohttp.ClientSession, files: Path
    ) -> None:
        self.node_id = node_id
        self.connected_at: list[float] = []
        self.shell = Shell(
            cluster_id=cluster_id,
            runtimes={"simulated": SimulatedRuntime()},
            journal=NoJournal(),  # type: ignore[arg-type]
            clock=SystemClock(),
            admission=Admission(),
        )
        logs = LogFiles(files)
        tails = TailSender(logs, http, node_id, lambda: self.session.url)
        options = SessionOptions(
            hello=self._hello,
            admitted=lambda welcome: None,
            connected=lambda: self.connected_at.append(asyncio.get_running_loop().time()),
            renewed=lambda sent_at, seconds: None,
        )
        known = Masters(masters)
        streams = Streams(Logs(self.shell, logs, tails), http, known)
        self.session = Session(options, known, partial(dial, http, node_id), self.shell, streams)

    def _hello(self) -> Hello:
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            instance=f"instance-of-{self.node_id}",
            hostname=f"{self.node_id}.test",
            port=8071,
            capacity=ROOM,
            allocatable=ROOM,
            runtimes=("simulated",),
            held=held_attempts(self.shell.state),
        )


class Crowd:
    """`statuses` counts the answers to all requests; 101 is a session."""

    def __init__(self, members: Sequence[Member], statuses: Counter[int]) -> None:
        self.members = members
        self.statuses = statuses

    async def all_connected(self, seconds: float) -> None:
        await self.until_connected(len(self.members), seconds)

    async def until_connected(self, count: int, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while sum(member.session.url is not None for member in self.members) != count:
                await asyncio.sleep(POLL_SECONDS)

    def failures(self) -> int:
        return sum(count for status, count in self.statuses.items() if status >= 500)

    def welcomes_since(self, begin: float) -> list[float]:
        """Return how long after `begin` (of the loop's clock) each welcome came, in order."""
        return sorted(at - begin for member in self.members for at in member.connected_at if at >= begin)


@asynccontextmanager
async def crowd(count: int, cluster_id: str, masters: Sequence[str], files: Path) -> AsyncIterator[Crowd]:
    """Give so many workers that begin to dial the masters, one after the other."""
    statuses: Counter[int] = Counter()

    async def note(
        session: aiohttp.ClientSession, context: SimpleNamespace, answered: aiohttp.TraceRequestEndParams
    ) -> None:
        statuses[answered.response.status] += 1

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS),
        trace_configs=[trace],
    )
    members = [Member(f"crowd-{number}", cluster_id, masters, http, files) for number in range(count)]
    for member in members:
        await member.shell.open()
    parts = [asyncio.create_task(_join(member, number)) for number, member in enumerate(members)]
    try:
        yield Crowd(members, statuses)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        for member in members:
            await member.shell.close()
        await http.close()


async def _join(member: Member, number: int) -> None:
    await asyncio.sleep(number / JOINS_PER_SECOND)
    await member.session.run()
