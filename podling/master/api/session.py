"""`/api/v1/nodes/{id}/session`: the transport of a worker's session."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from aiohttp import WSMsgType, web

from podling.core.access import LOCAL, Role
from podling.core.errors import (
    IllegalTransition,
    InvalidInput,
    NotFound,
    PodlingError,
    StaleAttempt,
    Unavailable,
)
from podling.core.lifecycle import Reported
from podling.core.policy import validate_node_id
from podling.core.protocol import Report, ReportOutcome
from podling.core.task import Task
from podling.kit.connection import STAMP, uncounted
from podling.kit.conveyor import Conveyor
from podling.master.api.http import refuse_unless_websocket
from podling.master.api.keys import BEATS, CONTEXT, PRINCIPAL, RELAY, SESSIONS
from podling.master.api.route import Node, Route, get
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.master.operations import decisions
from podling.master.sessions.beats import Beats
from podling.master.sessions.reconcile import reconcile
from podling.master.sessions.registry import Sessions, shorten
from podling.master.sessions.relay import Relay
from podling.master.sessions.session import Session
from podling.wire.session import (
    SUBPROTOCOLS,
    UNKNOWN_MESSAGE,
    BeatMessage,
    Goodbye,
    Hello,
    Inventory,
    MasterMessage,
    Reports,
    ReportsAcknowledged,
    StreamRefused,
    pack,
    unpack,
)

_log = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
LINGER_SECONDS = 30.0
SILENT_LEASES = 3  # after which a connection is dead, whatever the kernel thinks of it
MOST_WAITING = 1000  # messages that may wait for the store; the worker sends the others again
SMALL_MESSAGE = 200
"""Characters of a beat and the like, which waits for nothing."""

MOST_MESSAGE_BYTES = 32 * 1024 * 1024

_Work = Reports | Inventory | BeatMessage | StreamRefused


def routes() -> list[Route]:
    return [get("/api/v1/nodes/{id}/session", serve_session, Role.WORKER, node=Node.IN_PATH)]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a master needs to speak with workers."""

    context: MasterContext
    sessions: Sessions
    beats: Beats
    relay: Relay


class Line(Protocol):
    """One worker's connection, whatever carries it."""

    async def send(self, message: MasterMessage) -> None:
        """Raises ConnectionError, also when the other side has taken nothing for too long."""

    async def receive(self) -> object:
        """Return the next message. Raises InvalidInput, Unavailable at the end of the line."""


async def serve_session(request: web.Request) -> web.StreamResponse:
    """Speak the worker protocol until either side ends it."""
    node_id = validate_node_id(request.match_info["id"])
    socket = web.WebSocketResponse(max_msg_size=MOST_MESSAGE_BYTES, compress=False, protocols=SUBPROTOCOLS)
    socket.headers.update(STAMP)
    refuse_unless_websocket(request, socket)
    await socket.prepare(request)
    app = request.app
    desk = Desk(app[CONTEXT], app[SESSIONS], app[BEATS], app[RELAY])
    try:
        with _lent(request, desk.context, node_id) as secret:
            await serve(
                desk, node_id, _WebSocketLine(socket, desk.sessions), partial(uncounted, request), secret
            )
    finally:
        await socket.close()
    return socket


def _lent(request: web.Request, context: MasterContext, node_id: str) -> AbstractContextManager[str | None]:
    """Lend a credential to a worker that has none, because no token exists yet."""
    if request[PRINCIPAL] is not LOCAL:
        return nullcontext()
    return context.credentials.lending(node_id, context.draw_bits)


async def serve(
    desk: Desk,
    node_id: str,
    line: Line,
    admitted: Callable[[], None] | None = None,
    secret: str | None = None,
) -> None:
    """Admit a worker, and speak with it until either side ends it; `admitted` is called in between.

    `secret` is for its other requests to this master.
    """
    try:
        session, welcome = await desk.sessions.open(node_id, await _hello(line))
    except PodlingError as error:
        reconnect = not isinstance(error, InvalidInput)
        with suppress(ConnectionError):
            await line.send(Goodbye(reason=error.message, reconnect=reconnect))
        return
    if admitted is not None:
        admitted()
    try:
        if session.goes_to_masters:
            key = desk.context.credentials.key_of_node(node_id)
            welcome = replace(welcome, secret=secret, task_key=None if key is None else key.hex())
        await line.send(welcome)
        del welcome  # it can be long, and the session is
        await _Conversation(desk, line, session).run()
    finally:
        desk.sessions.forget(session)


async def _hello(line: Line) -> Hello:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            message = await line.receive()
    except (Unavailable, TimeoutError):
        raise InvalidInput("the first message has to be hello") from None
    if not isinstance(message, Hello):
        raise InvalidInput("the first message has to be hello")
    return message


class _WebSocketLine:
    """The port `Line` over a WebSocket, whose `Connection` cuts off who takes nothing."""

    __slots__ = ("_reading", "_socket", "_writing")

    def __init__(self, socket: web.WebSocketResponse, sessions: Sessions) -> None:
        self._socket = socket
        self._reading, self._writing = sessions.reading, sessions.writing

    async def send(self, message: MasterMessage) -> None:
        await self._writing.enter()
        await self._socket.send_str(pack(message))

    async def receive(self) -> object:
        message = await self._socket.receive()
        if message.type is not WSMsgType.TEXT:
            raise Unavailable("the worker hung up")
        if len(message.data) > SMALL_MESSAGE:
            await self._reading.enter()
        return unpack(message.data)


class _Conversation:
    """Reads, and has writing and the work on reports done beside it, so that neither holds up a beat.

    While nothing happens it is one task, which waits for the next message.
    """

    __slots__ = (
        "_beats", "_context", "_is_behind", "_is_over", "_line", "_patience", "_relay",
        "_session", "_sessions", "_work",
    )  # fmt: skip

    def __init__(self, desk: Desk, line: Line, session: Session) -> None:
        self._context = desk.context
        self._sessions = desk.sessions
        self._beats = desk.beats
        self._relay = desk.relay
        self._line = line
        self._session = session
        self._work: Conveyor[_Work | Goodbye] = Conveyor()
        self._patience = asyncio.timeout(None)
        self._is_behind = False
        self._is_over = False

    async def run(self) -> None:
        """Return when the worker hangs up or is silent, or when writing or working is over."""
        try:
            async with self._patience:
                self._session.outgoing.begin(self._write, self._end)
                self._work.begin(self._work_off, self._end)
                await self._read()
        except Exception as error:  # noqa: BLE001 - the session is over, whatever it was
            if not self._is_over:
                _tell(error, self._session.node_id)
        finally:
            self._is_over = True  # what fails from here on ends nothing any more
            await self._session.outgoing.end()
            await self._work.end()

    def _end(self, error: BaseException | None = None) -> None:
        """Have `run` return."""
        if self._is_over or self._patience.expired():
            return
        self._is_over = True
        if error is not None:
            _tell(error, self._session.node_id)
        self._patience.reschedule(0.0)

    def _wait_for(self, seconds: float) -> None:
        """Be patient for about so long from now on; the timer is not set anew for every beat."""
        until, due = asyncio.get_running_loop().time() + seconds, self._patience.when()
        if not self._is_over and (due is None or abs(until - due) > seconds / 4):
            self._patience.reschedule(until)

    async def _read(self) -> None:
        patience = self._context.options.lease_seconds * SILENT_LEASES
        while True:
            self._wait_for(patience)
            try:
                await self._take(await self._line.receive())
            except Unavailable:
                return  # it hung up
            except InvalidInput as error:
                if error.code == UNKNOWN_MESSAGE:
                    _log.warning("node %s says something newer: %s", self._session.node_id, error.message)
                    continue
                self._session.close(f"a message could not be read: {error.message}")
                await self._linger()  # ended by the goodbye

    async def _linger(self) -> None:
        """Read nothing more, and give what is in hand time to end this."""
        self._wait_for(LINGER_SECONDS)
        await asyncio.get_running_loop().create_future()

    async def _take(self, message: object) -> None:
        match message:
            case BeatMessage():
                if self._sessions.is_current(self._session):
                    self._beats.note(self._session, message.counter)
                if shorten(message.unhealthy) != self._unhealthy():
                    self._put(message)
            case Reports() | Inventory() | StreamRefused():
                self._put(message)
            case Goodbye():
                self._work.put(message)
                await self._linger()  # ended when what came before it is worked off
            case _:
                raise InvalidInput("a worker does not send that message")

    def _put(self, message: _Work) -> None:
        """Have it worked off, if there is room: beats must be read, however slow the store is."""
        is_behind = len(self._work) >= MOST_WAITING
        if not is_behind:
            self._work.put(message)
        elif not self._is_behind:
            _log.warning("node %s tells more than the store can take", self._session.node_id)
        self._is_behind = is_behind

    def _unhealthy(self) -> str | None:
        node = self._context.view.node(self._session.node_id)
        return node.unhealthy if node else None

    async def _write(self, message: MasterMessage) -> None:
        await self._line.send(message)
        if isinstance(message, Goodbye):
            self._end()

    async def _work_off(self, message: _Work | Goodbye) -> None:
        if not self._sessions.is_current(self._session):
            self._end()
            return
        match message:
            case Reports():
                await self._apply(message)
            case Inventory():
                desired = await reconcile(self._context, self._session.node_id, message.held)
                self._session.send(desired)
            case StreamRefused(stream_id=stream_id, error=error):
                await self._relay.refused(stream_id, error)
            case BeatMessage():
                await self._sessions.note_health(self._session, message.unhealthy)
            case Goodbye():
                await self._sessions.leave(self._session, message.reason)
                self._end()

    async def _apply(self, first: Reports) -> None:
        """Apply reports, with those that have come meanwhile: a commit is waited for by all of them."""
        more = self._work.take_while(lambda message: isinstance(message, Reports))
        messages = [first, *(message for message in more if isinstance(message, Reports))]
        reports = [item for message in messages for item in message.items]
        invalid = [number for message in messages for number in message.invalid]
        told = await self._apply_all(reports)
        if invalid:
            _log.warning("node %s sent %d reports that say nothing", self._session.node_id, len(invalid))
            told |= dict.fromkeys(invalid, ReportOutcome.INVALID)
        if told:
            self._session.send(ReportsAcknowledged(outcomes=told))

    async def _apply_all(self, reports: Sequence[Report]) -> dict[int, ReportOutcome]:
        """Return what became of each; those are left out that the worker has to send again."""
        node_id = self._session.node_id
        happenings = [
            Happening(report.task_id, Reported(report=report, node_id=node_id), from_worker=True)
            for report in reports
        ]
        told = {}
        answers = await self._context.committer.report_all(happenings)
        for report, answer in zip(reports, answers, strict=True):
            if isinstance(answer, Task):
                decisions.note_report(self._context, node_id, report)
                told[report.sequence] = ReportOutcome.APPLIED
            elif (outcome := _refusal(answer, node_id)) is not None:
                told[report.sequence] = outcome
        return told


def _refusal(error: Exception, node_id: str) -> ReportOutcome | None:
    """Return the outcome of a report that was not applied; None if the store is away."""
    match error:
        case StaleAttempt():
            return ReportOutcome.STALE
        case NotFound():
            return ReportOutcome.UNKNOWN
        case IllegalTransition():
            _log.warning("report of node %s: %s", node_id, error.message)
            return ReportOutcome.INVALID
        case PodlingError():
            _log.warning("report of node %s has to wait: %s", node_id, error.message)
            return None
    raise error


def _tell(error: BaseException | None, node_id: str) -> None:
    if isinstance(error, PodlingError | TimeoutError | ConnectionError):
        _log.warning("session of node %s ended: %s", node_id, str(error) or type(error).__name__)
    elif error is not None:
        _log.error("session of node %s failed", node_id, exc_info=error)
