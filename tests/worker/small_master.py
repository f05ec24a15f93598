"""A small master: it speaks the worker protocol and takes tails, and does what a test tells it."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from podling.core.logrecord import decode, render
from podling.core.protocol import Report, ReportKind, ReportOutcome
from podling.wire.session import (
    LOG_END,
    BeatAcknowledged,
    BeatMessage,
    Desired,
    Goodbye,
    Hello,
    Inventory,
    MasterMessage,
    Reports,
    ReportsAcknowledged,
    StreamRefused,
    Welcome,
    pack,
    unpack,
)

PATIENCE_SECONDS = 10.0


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class SmallMaster:
    cluster_id: str = "cluster-1"
    lease_seconds: float = 2.0
    url: str = ""
    desired: Desired = field(default_factory=Desired)
    acknowledges_beats: bool = True
    acknowledges_reports: bool = True
    may_welcome: asyncio.Event = field(default_factory=_set)
    reads_streams: asyncio.Event = field(default_factory=_set)
    tail_status: int = 200
    subprotocols: tuple[str, ...] = ()
    is_ready: bool = True
    wants_token: str | None = None
    lends: str | None = None
    shown: dict[str, str | None] = field(default_factory=dict)  # what came with the last of a kind
    hellos: list[Hello] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    beats: list[BeatMessage] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    refusals: list[StreamRefused] = field(default_factory=list)
    goodbyes: list[Goodbye] = field(default_factory=list)
    tails: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, bytes] = field(default_factory=dict)
    ended_streams: set[str] = field(default_factory=set)
    closed_streams: set[str] = field(default_factory=set)
    stream_heartbeat: float | None = None
    socket: web.WebSocketResponse | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """Wait until `holds` gives something true; it is asked after every message."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (found := holds()):
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_SECONDS:g} s: {what}") from None

    def changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def send(self, message: MasterMessage) -> None:
        assert self.socket is not None
        await self.socket.send_str(pack(message))

    async def hang_up(self) -> None:
        assert self.socket is not None
        await self.socket.close()

    def ends(self, task_id: str = "t1") -> list[Report]:
        kinds = (ReportKind.ENDED, ReportKind.REFUSED)
        return [report for report in self.reports if report.task_id == task_id and report.kind in kinds]

    async def end_of(self, task_id: str = "t1") -> Report:
        found = await self.until(f"{task_id} has ended", lambda: self.ends(task_id))
        return found[0]  # type: ignore[no-any-return]

    async def running(self, task_id: str = "t1") -> None:
        await self.until(
            f"{task_id} runs",
            lambda: [r for r in self.reports if r.task_id == task_id and r.kind is ReportKind.RUNNING],
        )

    # Handlers

    async def serve_session(self, request: web.Request) -> web.WebSocketResponse:
        if self.wants_token and request.headers.get("Authorization") != f"Bearer {self.wants_token}":
            raise web.HTTPUnauthorized
        self.shown["session"] = request.headers.get("Authorization")
        socket = web.WebSocketResponse(protocols=self.subprotocols)
        await socket.prepare(request)
        self.headers.append(dict(request.headers))
        hello = unpack(await socket.receive_str())
        self.hellos.append(hello)
        self.socket = socket
        welcome = Welcome(
            session_no=len(self.hellos),
            cluster_id=self.cluster_id,
            lease_seconds=self.lease_seconds,
            masters=(self.url,),
            desired=self.desired if hello.unhealthy is None else Desired(),
            secret=self.lends,
        )
        await self.may_welcome.wait()
        await socket.send_str(pack(welcome))
        self.changed()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._take(socket, unpack(message.data))
                self.changed()
        self.changed()
        return socket

    async def _take(self, socket: web.WebSocketResponse, message: object) -> None:
        match message:
            case BeatMessage(counter=counter):
                self.beats.append(message)
                if self.acknowledges_beats:
                    await socket.send_str(pack(BeatAcknowledged(counter=counter)))
            case Reports(items=items):
                self.reports += items
                if self.acknowledges_reports:
                    outcomes = {item.sequence: ReportOutcome.APPLIED for item in items}
                    await socket.send_str(pack(ReportsAcknowledged(outcomes=outcomes)))
            case Inventory():
                await socket.send_str(pack(Desired()))
            case StreamRefused():
                self.refusals.append(message)
            case Goodbye():
                self.goodbyes.append(message)
                await socket.close()

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response({"clusterId": self.cluster_id}, status=200 if self.is_ready else 503)

    async def take_tails(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.shown["tails"] = request.headers.get("Authorization")
        if self.tail_status == 200:
            self.tails += body["tails"]
        self.changed()
        return web.json_response({}, status=self.tail_status)

    async def take_facts(self, request: web.Request) -> web.Response:
        self.shown["facts"] = request.headers.get("Authorization")
        self.facts.append(await request.json())
        self.changed()
        return web.json_response({})

    def tail_text(self, task_id: str = "t1") -> bytes:
        found = [tail for tail in self.tails if tail["taskId"] == task_id and tail["final"]]
        return b"".join(render(record) for record in decode(base64.b64decode(found[-1]["frames"])))

    async def take_stream(self, request: web.Request) -> web.WebSocketResponse:
        self.headers.append(dict(request.headers))
        self.shown["stream"] = request.headers.get("Authorization")
        name = request.match_info["id"]
        socket = web.WebSocketResponse(heartbeat=self.stream_heartbeat)
        await socket.prepare(request)
        self.streams[name] = b""
        await self.reads_streams.wait()
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                self.streams[name] += message.data
            elif message.data == LOG_END:
                self.ended_streams.add(name)
            self.changed()
        self.closed_streams.add(name)
        self.changed()
        return socket

    def stream_text(self, name: str) -> bytes:
        return b"".join(render(record) for record in decode(self.streams.get(name, b"")))


@asynccontextmanager
async def small_master(**fields: Any) -> AsyncIterator[SmallMaster]:
    """Serve on a free port of loopback."""
    master = SmallMaster(**fields)
    application = web.Application()
    application.add_routes(
        [
            web.get("/api/v1/nodes/{id}/session", master.serve_session),
            web.post("/api/v1/nodes/{id}/tails", master.take_tails),
            web.post("/api/v1/nodes/{id}/facts", master.take_facts),
            web.get("/streams/{id}", master.take_stream),
            web.get("/ready", master.ready),
        ]
    )
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    master.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield master
    finally:
        await runner.cleanup()
