"""`/api/v1/events`: what happens to tasks and nodes, as server-sent events."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from aiohttp import web

from podling.core.access import Role
from podling.core.errors import InvalidInput, PodlingError
from podling.core.happened import TYPES, EventFilter
from podling.core.position import parse_position
from podling.core.selector import parse_selectors
from podling.kit.connection import STAMP
from podling.master.api.admission import ADMISSION
from podling.master.api.http import header, moment, query
from podling.master.api.keys import CONTEXT, STREAMS
from podling.master.api.route import Route, get
from podling.master.context import MasterContext
from podling.master.credentials import CREDENTIAL_ENDED
from podling.master.operations import events
from podling.wire.events import sse_end, sse_event, sse_heartbeat

_END_SECONDS = 1.0
_HEADERS = STAMP | {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


def routes() -> list[Route]:
    return [get("/api/v1/events", get_events, Role.READER)]


async def get_events(request: web.Request) -> web.StreamResponse:
    """Stream events until the reader leaves, is too slow, or the master stops."""
    context = request.app[CONTEXT]
    asked = _query(request)
    response = web.StreamResponse(headers=_HEADERS)
    turn = request.app[ADMISSION].streaming(request)
    with turn, context.events.reading(), request.app[STREAMS].reading():
        try:
            async with aclosing(events.read(context, asked)) as told:
                async for items in told:
                    if not response.prepared:
                        await response.prepare(request)
                    await _write(response, items, context.options.reader_seconds)
        except asyncio.CancelledError as cancelled:
            if not response.prepared or cancelled.args != (CREDENTIAL_ENDED,):
                raise
            await _end(response, context)
        except (TimeoutError, PodlingError):
            if not response.prepared:
                raise
            # Too slow, or the store is away: the line breaks in its middle, and the reader comes again.
            if request.transport is not None:
                request.transport.abort()
    return response


async def _write(response: web.StreamResponse, items: Sequence[events.Told], patience_seconds: float) -> None:
    texts = [
        sse_heartbeat(item.event_id) if item.event is None else sse_event(item.event_id, item.event)
        for item in items
    ]
    async with asyncio.timeout(patience_seconds):
        await response.write(b"".join(texts))


async def _end(response: web.StreamResponse, context: MasterContext) -> None:
    """Tell why nothing more comes, and let the answer end as it should."""
    if (task := asyncio.current_task()) is not None:
        task.uncancel()
    async with asyncio.timeout(_END_SECONDS):
        await response.write(sse_end(context.clock.now(), "token_ended", CREDENTIAL_ENDED))


def _query(request: web.Request) -> events.EventQuery:
    given = query(request, "taskId", "type", "queue", "label", "node", "since")
    after = header(request, "Last-Event-ID")
    return events.EventQuery(
        wanted=_filter(given, request.query.getall("label", [])),
        after=None if after is None else parse_position(after),
        since=moment(given.get("since"), "since"),
    )


def _filter(given: Mapping[str, str], labels: Sequence[str]) -> EventFilter:
    types = frozenset(given["type"].split(",")) if "type" in given else frozenset()
    if not types <= set(TYPES):
        raise InvalidInput.field("type", f"must be one or more of {', '.join(TYPES)}")
    return EventFilter(
        types=types,
        task_id=given.get("taskId"),
        node_id=given.get("node"),
        queue=given.get("queue"),
        labels=parse_selectors(labels),
    )
