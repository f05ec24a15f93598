"""A worker that was started again beats before it can work: an engine that hangs makes no node lost."""

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from podling.core.agent_events import JournalRow
from podling.core.errors import ConfigurationError, PodlingError, Unavailable
from podling.core.protocol import HeldAttempt, HeldState
from podling.kit.clock import Clock
from podling.wire.session import BeatAcknowledged, BeatMessage, Goodbye, Hello
from podling.worker.line import Line, dial
from podling.worker.masters import Masters
from podling.worker.session import ANSWER_SECONDS, greet, waits

PATIENCE_SECONDS = 1.0  # most starts need less, and no second session

_log = logging.getLogger(__name__)


def held_by_journal(rows: tuple[JournalRow, ...]) -> tuple[HeldAttempt, ...]:
    """Return the inventory as far as it is known without the runtimes."""
    return tuple(
        HeldAttempt(task_id=row.key.task_id, attempt=row.key.attempt, state=_state(row))
        for row in rows
        if not row.done and row.assignment is not None
    )


def _state(row: JournalRow) -> HeldState:
    if row.final is not None:
        return HeldState.ENDED
    return HeldState.RUNNING if row.notes.containers else HeldState.STARTING


class Standby:
    """Keeps the node's lease and nothing else: the session proper compares everything again."""

    def __init__(
        self,
        masters: Masters,
        http: aiohttp.ClientSession,
        clock: Clock,
        node_id: str,
        cluster_id: str,
        hello: Hello,
        renewed: Callable[[float, float], None],
    ) -> None:
        self._masters = masters
        self._http = http
        self._clock = clock
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._hello = hello
        self._renewed = renewed

    async def run(self) -> None:
        """Beat, after a moment, until cancelled; or until a master says not to come back."""
        await asyncio.sleep(PATIENCE_SECONDS)
        for wait in waits(self._masters):
            url = self._masters.take()
            try:
                await self._talk(url)
            except ConfigurationError as error:
                _log.warning("master %s: %s", url, error.message)
                return
            except (PodlingError, aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.warning("no session with master %s: %s", url, str(error) or "it did not answer")
            await asyncio.sleep(wait)

    async def _talk(self, url: str) -> None:
        line = await dial(self._http, self._node_id, url, ANSWER_SECONDS)
        try:
            sent_at = self._clock.monotonic()
            welcome = await greet(line, self._hello)
            if welcome.cluster_id != self._cluster_id:
                raise Unavailable(f"it is of another cluster, {welcome.cluster_id}")
            self._renewed(sent_at, welcome.lease_seconds)
            _log.warning("node %s only beats: its runtimes are not there yet", self._node_id)
            await self._beat(line, welcome.lease_seconds)
        finally:
            await line.close()

    async def _beat(self, line: Line, lease_seconds: float) -> None:
        counter = 0
        while True:
            counter += 1
            sent_at = self._clock.monotonic()
            await line.send(BeatMessage(counter=counter, unhealthy=self._hello.unhealthy))
            async with asyncio.timeout(lease_seconds):
                await _acknowledged(line, counter)
            self._renewed(sent_at, lease_seconds)
            await asyncio.sleep(lease_seconds / 4)


async def _acknowledged(line: Line, counter: int) -> None:
    """Return when the master has written the beat; its orders are for the session proper."""
    while True:
        match await line.receive():
            case BeatAcknowledged(counter=seen) if seen >= counter:
                return
            case Goodbye(reason=reason):
                raise Unavailable(f"the master ended the session: {reason}")
