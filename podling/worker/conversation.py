"""What is said in one connection of a session: beats, reports and inventories out, orders in."""

import asyncio
import logging
from typing import TYPE_CHECKING

from podling.core.agent import held_attempts
from podling.core.agent_events import (
    Acknowledged,
    Assigned,
    LeaseRenewed,
    NodeDrained,
    Reconciled,
    StopOrdered,
)
from podling.core.errors import ConfigurationError, InvalidInput, Unavailable
from podling.wire.session import (
    UNKNOWN_MESSAGE,
    Assign,
    BeatAcknowledged,
    BeatMessage,
    Desired,
    Drain,
    Goodbye,
    Inventory,
    MastersKnown,
    OpenStream,
    Reports,
    ReportsAcknowledged,
    Stop,
    StreamRefused,
    Welcome,
)
from podling.worker.due_reports import DueReports

if TYPE_CHECKING:
    from podling.worker.line import Line
    from podling.worker.session import Session

INVENTORY_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Conversation:
    """Ends when one of its parts does; then the worker dials the next master."""

    def __init__(self, session: "Session", line: "Line", url: str) -> None:
        self._session = session
        self._shell = session.shell
        self._line = line
        self._url = url
        self._lease_seconds = 0.0
        self._counter = 0
        self._beats: dict[int, float] = {}  # when each beat without an answer was sent
        self._acknowledged_at = 0.0  # when the last acknowledged beat was sent
        self._reports = DueReports()

    async def run(self, welcome: Welcome, hello_sent_at: float) -> None:
        """Talk until the line breaks. Raises Unavailable; ConfigurationError if sent away for good."""
        self._lease_seconds = welcome.lease_seconds
        self._renew(hello_sent_at)
        self._shell.feed(NodeDrained(reason=None))  # the master says otherwise if it is
        self._reconcile(welcome.desired)
        parts = (self._read, self._beat, self._watch, self._report, self._take_inventory)
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(part())
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error

    # In

    async def _read(self) -> None:
        while True:
            try:
                message = await self._line.receive()
            except InvalidInput as error:
                if error.code != UNKNOWN_MESSAGE:
                    raise
                _log.warning("the master says something this worker does not understand: %s", error.message)
            else:
                self._take(message)

    def _take(self, message: object) -> None:
        match message:
            case Assign(items=items):
                self._shell.feed(Assigned(items=items))
            case Stop(items=items):
                self._shell.feed(StopOrdered(items=items))
            case ReportsAcknowledged(outcomes=outcomes):
                self._reports.answered(outcomes)
                self._shell.sending.set()  # starts that waited for that
                self._shell.feed(Acknowledged(outcomes=outcomes))
            case BeatAcknowledged(counter=counter):
                self._beat_acknowledged(counter)
            case Desired():
                self._reconcile(message)
            case Drain(reason=reason):
                self._shell.feed(NodeDrained(reason=reason))
            case OpenStream():
                self._session.streams.open(self._url, message, self._refuse_stream)
            case MastersKnown(masters=masters):
                self._session.masters.learn(masters)
            case Goodbye(reason=reason, reconnect=True):
                raise Unavailable(f"the master ended the session: {reason}")
            case Goodbye(reason=reason):
                raise ConfigurationError(f"the master ended the session for good: {reason}")

    def _reconcile(self, desired: Desired) -> None:
        self._shell.feed(Reconciled(assign=desired.assign, stop=desired.stop, forget=desired.forget))

    def _beat_acknowledged(self, counter: int) -> None:
        sent_at = self._beats.get(counter)
        self._beats = {number: at for number, at in self._beats.items() if number > counter}
        if sent_at is not None:
            self._renew(sent_at)

    def _renew(self, sent_at: float) -> None:
        self._acknowledged_at = max(self._acknowledged_at, sent_at)
        self._shell.feed(LeaseRenewed(sent_at=sent_at, lease_seconds=self._lease_seconds))
        self._session.options.renewed(sent_at, self._lease_seconds)

    # Out

    @property
    def _beat_seconds(self) -> float:
        given = self._session.options.heartbeat_interval
        return min(given or self._lease_seconds / 4, self._lease_seconds / 3)

    async def _beat(self) -> None:
        while True:
            self._counter += 1
            self._beats[self._counter] = self._shell.clock.monotonic()
            await self._line.send(BeatMessage(counter=self._counter, unhealthy=self._session.unhealthy))
            await self._session.beating.wait(self._beat_seconds)

    async def _watch(self) -> None:
        """Give a master up that does not acknowledge: after a third of a lease, counted from when
        the next beat is due, there is still time for another one."""
        patience = max(self._lease_seconds / 3, self._beat_seconds + self._lease_seconds / 6)
        while (left := self._acknowledged_at + patience - self._shell.clock.monotonic()) > 0:
            await asyncio.sleep(left)
        raise Unavailable("the master does not acknowledge beats")

    async def _report(self) -> None:
        """What the last line did not bring goes first: nothing else would wake this up for it."""
        clock = self._shell.clock
        while True:
            while due := self._reports.take(self._shell.state, clock.monotonic()):
                await self._line.send(Reports(items=tuple(due)))
            await self._shell.sending.wait(self._reports.seconds_to_next(clock.monotonic()))

    async def _take_inventory(self) -> None:
        while True:
            await asyncio.sleep(INVENTORY_SECONDS)
            await self._line.send(Inventory(held=held_attempts(self._shell.state)))

    async def _refuse_stream(self, stream_id: str, error: str) -> None:
        await self._line.send(StreamRefused(stream_id=stream_id, error=error))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that ended the conversation; being sent away for good comes before all others."""
    found = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return next((error for error in found if isinstance(error, ConfigurationError)), found[0])
