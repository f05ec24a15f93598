"""A worker without containers: it speaks the worker protocol and does what a test tells it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

import aiohttp

from podling.core.protocol import (
    PROTOCOL_VERSION,
    Assignment,
    HeldAttempt,
    HeldState,
    Report,
    ReportKind,
    ReportOutcome,
    StopOrder,
)
from podling.core.task import ContainerState, ContainerStatus, HealthStatus
from podling.wire.session import (
    Assign,
    BeatAcknowledged,
    BeatMessage,
    Desired,
    Drain,
    Goodbye,
    Hello,
    Inventory,
    MastersKnown,
    OpenStream,
    Reports,
    ReportsAcknowledged,
    Stop,
    StreamRefused,
    Welcome,
    pack,
    unpack,
)

PATIENCE_SECONDS = 8.0

ServeLog = Callable[[OpenStream, aiohttp.ClientWebSocketResponse], Awaitable[None]]


class Refused(Exception):
    """The master answered hello with a goodbye."""

    def __init__(self, goodbye: Goodbye) -> None:
        super().__init__(goodbye.reason)
        self.goodbye = goodbye


class FakeWorker:
    """`connect` says hello; what the master sends is kept in lists, and `until` waits on them.

    While `beating` it beats a dozen times per lease. `serve_log` answers requests for log streams.
    """

    def __init__(self, url: str, node_id: str = "node-1", *, token: str | None = None, **hello: Any) -> None:
        self.node_id = node_id
        self.url = url
        self.token = token
        self.hello = _hello(node_id, hello)
        self.welcome: Welcome | None = None
        self.goodbye: Goodbye | None = None
        self.closed = True
        self.beating = True
        self.unhealthy: str | None = None
        self.assignments: list[Assignment] = []
        self.stops: list[StopOrder] = []
        self.desired: list[Desired] = []
        self.outcomes: dict[int, ReportOutcome] = {}
        self.beats_acknowledged: set[int] = set()
        self.streams: list[OpenStream] = []
        self.masters: tuple[str, ...] = ()
        self.drains: list[Drain] = []
        self.serve_log: ServeLog | None = None
        self._counter = count(1)
        self._sequence = count(1)
        self._changed = asyncio.Condition()
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._parts: list[asyncio.Task[None]] = []

    # Connecting

    async def connect(self, held: Sequence[HeldAttempt] = (), **changes: Any) -> Welcome:
        """Say hello and return the welcome. Raises Refused."""
        await self.close()
        self.goodbye, self.closed = None, False
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else None
        self._http = aiohttp.ClientSession(headers=headers)
        self._socket = await self._http.ws_connect(
            f"{self.url}/api/v1/nodes/{self.node_id}/session", max_msg_size=0
        )
        hello = _replaced(self.hello, held=tuple(held), unhealthy=self.unhealthy, **changes)
        await self._socket.send_str(pack(hello))
        answer = unpack(await self._socket.receive_str(timeout=PATIENCE_SECONDS))
        if isinstance(answer, Goodbye):
            await self.close()
            raise Refused(answer)
        assert isinstance(answer, Welcome), answer
        self.welcome = answer
        await self._take(answer.desired)
        self._parts = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]
        return answer

    async def close(self) -> None:
        """End the connection in an orderly way."""
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        self._parts = []
        if self._http is not None:
            await self._http.close()
        self._http = self._socket = None
        await self._note_closed()

    async def vanish(self) -> None:
        """Cut the connection without a word, as a crash does."""
        assert self._socket is not None
        response = self._socket._response
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        await self.close()

    def fall_silent(self) -> None:
        """Stay connected and stop beating."""
        self.beating = False

    # Talking

    async def send(self, message: Any) -> None:
        await self.send_text(pack(message))

    async def send_text(self, text: str) -> None:
        assert self._socket is not None
        await self._socket.send_str(text)

    async def beat_once(self) -> int:
        """Send one beat and return its counter."""
        counter = next(self._counter)
        await self.send(BeatMessage(counter=counter, unhealthy=self.unhealthy))
        return counter

    async def take_inventory(self, *held: HeldAttempt) -> Desired:
        """Send the inventory and return the verdict on it."""
        seen = len(self.desired)
        await self.send(Inventory(held=held))
        await self.until(lambda: len(self.desired) > seen, "a verdict on the inventory")
        return self.desired[seen]

    async def report(self, *reports: Report) -> list[ReportOutcome]:
        """Send reports in one message and return what became of each."""
        await self.send(Reports(items=reports))
        numbers = [report.sequence for report in reports]
        await self.until(lambda: all(n in self.outcomes for n in numbers), "the acknowledgement of reports")
        return [self.outcomes[number] for number in numbers]

    def build(self, work: Assignment, kind: ReportKind, **fields: Any) -> Report:
        """Return a report about an assignment, with a sequence number of its own."""
        defaults: dict[str, Any] = {
            "sequence": next(self._sequence),
            "task_id": work.task_id,
            "attempt": work.attempt,
            "kind": kind,
            "at": datetime.now(UTC),
        }
        return Report(**(defaults | fields))

    async def start(self, work: Assignment, **fields: Any) -> ReportOutcome:
        """Report that the attempt runs."""
        container = ContainerState(
            name="main", container_id=f"container-{work.attempt}", status=ContainerStatus.RUNNING
        )
        defaults = {"started_at": datetime.now(UTC), "containers": (container,)}
        return (await self.report(self.build(work, ReportKind.RUNNING, **(defaults | fields))))[0]

    async def end(self, work: Assignment, exit_code: int | None = 0, **fields: Any) -> ReportOutcome:
        """Report that the attempt has ended; badly if the exit code is not 0 or an error code is given."""
        code = None if exit_code == 0 else "EXIT_CODE"
        defaults = {"exit_code": exit_code, "error_code": code, "finished_at": datetime.now(UTC)}
        return (await self.report(self.build(work, ReportKind.ENDED, **(defaults | fields))))[0]

    async def refuse(self, work: Assignment, error: str = "no") -> ReportOutcome:
        report = self.build(work, ReportKind.REFUSED, error=error, never_started=True)
        return (await self.report(report))[0]

    async def tell_health(self, work: Assignment, health: HealthStatus) -> ReportOutcome:
        return (await self.report(self.build(work, ReportKind.UPDATE, health_status=health)))[0]

    # Waiting

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Wait until the condition holds and return what it gave; fail with `what` at the deadline."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                return await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"node {self.node_id} waited {seconds} s in vain for {what}") from None

    async def assigned(self, task_id: str, attempt: int = 1) -> Assignment:
        """Wait for the task's attempt to be assigned here."""

        def find() -> Assignment | None:
            known = (item for item in self.assignments if (item.task_id, item.attempt) == (task_id, attempt))
            return next(known, None)

        found = await self.until(find, f"attempt {attempt} of {task_id}")
        assert isinstance(found, Assignment)
        return found

    async def stopped(self, task_id: str) -> StopOrder:
        """Wait for an order to stop the task."""

        def find() -> StopOrder | None:
            return next((order for order in self.stops if order.task_id == task_id), None)

        found = await self.until(find, f"an order to stop {task_id}")
        assert isinstance(found, StopOrder)
        return found

    async def ended(self) -> Goodbye | None:
        """Wait for the end of the session; return the goodbye, if the master said one."""
        await self.until(lambda: self.closed, "the end of the session")
        return self.goodbye

    async def acknowledged(self, counter: int) -> None:
        """Wait for the acknowledgement of this beat, or of one that followed it."""
        what = f"beat {counter} to be acknowledged"
        await self.until(lambda: any(known >= counter for known in self.beats_acknowledged), what)

    # What comes in

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for message in self._socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                await self._take(unpack(message.data))
        finally:
            await asyncio.shield(self._note_closed())

    async def _take(self, message: object) -> None:
        async with self._changed:
            match message:
                case Assign(items=items):
                    self.assignments += items
                case Stop(items=items):
                    self.stops += items
                case Desired(assign=assign, stop=stop):
                    self.desired.append(message)
                    self.assignments += assign
                    self.stops += stop
                case ReportsAcknowledged(outcomes=outcomes):
                    self.outcomes |= outcomes
                case BeatAcknowledged(counter=counter):
                    self.beats_acknowledged.add(counter)
                case MastersKnown(masters=masters):
                    self.masters = masters
                case Drain():
                    self.drains.append(message)
                case Goodbye():
                    self.goodbye = message
                case OpenStream():
                    self.streams.append(message)
                    self._parts.append(asyncio.create_task(self._answer(message)))
            self._changed.notify_all()

    async def _note_closed(self) -> None:
        async with self._changed:
            self.closed = True
            self._changed.notify_all()

    async def _beat(self) -> None:
        assert self.welcome is not None
        with suppress(ConnectionError, AssertionError):
            while True:
                if self.beating:
                    await self.beat_once()
                await asyncio.sleep(self.welcome.lease_seconds / 12)

    async def _answer(self, request: OpenStream) -> None:
        if self.serve_log is None:
            await self.send(StreamRefused(stream_id=request.stream_id, error="no such log here"))
            return
        assert self._http is not None
        async with self._http.ws_connect(f"{request.url or self.url}{request.path}") as socket:
            await self.serve_log(request, socket)


def held(work: Assignment, state: HeldState = HeldState.RUNNING) -> HeldAttempt:
    """Return the line of an inventory about an assignment."""
    return HeldAttempt(task_id=work.task_id, attempt=work.attempt, state=state)


def _hello(node_id: str, changes: Mapping[str, Any]) -> Hello:
    room = {"slots": 10, "cpu": 4000, "memory": 8 * 2**30}
    defaults: dict[str, Any] = {
        "protocol_version": PROTOCOL_VERSION,
        "instance": f"instance-of-{node_id}",
        "hostname": f"{node_id}.test",
        "port": 8071,
        "capacity": room,
        "allocatable": room,
        "runtimes": ("docker", "process"),
        "version": "0.1.0",
    }
    given = dict(changes)
    if "slots" in given:
        slots = {**room, "slots": given.pop("slots")}
        given |= {"capacity": slots, "allocatable": slots}
    return Hello(**(defaults | given))


def _replaced(hello: Hello, **changes: Any) -> Hello:
    known = {name: getattr(hello, name) for name in Hello.__dataclass_fields__}
    return Hello(**(known | changes))
