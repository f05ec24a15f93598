"""An attempt's output: from its worker while that can be reached, else the tail in the store."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from podling.core.errors import NotFound, Unavailable
from podling.core.logrecord import Stream, decode, gap, render, select
from podling.core.task import Attempt, AttemptStatus, Task
from podling.master.context import MasterContext
from podling.master.operations import tasks
from podling.master.sessions.relay import Relay
from podling.master.sessions.streams import Streams
from podling.store.base import LogTail
from podling.wire.logs import CUT_OFF
from podling.wire.session import OpenStream

_log = logging.getLogger(__name__)

END_SECONDS = 5.0
AGAIN_SECONDS = (0.2, 0.5, 1.0)
"""Pauses before a log that has just ended is asked for again: its worker is busy, or its tail on its way."""
TAIL_SECONDS = 10.0  # that a tail may take to come after the end
MOST_END_BYTES = 16 * 1024

# Their worker may know more than the tail that it has saved.
_OPEN = frozenset({AttemptStatus.RUNNING, AttemptStatus.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """`attempt` None is the newest; `tail` counts lines."""

    attempt: int | None = None
    stream: Stream | None = None
    tail: int | None = None
    since: datetime | None = None
    follow: bool = False


async def read(
    context: MasterContext, relay: Relay, streams: Streams, task_id: str, query: LogQuery
) -> AsyncGenerator[bytes, None]:
    """Yield the text of one attempt's log. With `follow`, a task not started yet is waited for.

    Raises NotFound for an unknown task or attempt.
    """
    attempt = await _find_attempt(context, task_id, query)
    if attempt is None:
        return
    for pause in AGAIN_SECONDS:
        sent = False
        try:
            async for text in _from_worker(relay, streams, attempt, query):
                sent = True
                yield text
            return
        except Unavailable as error:
            _log.debug("log of %s: %s", task_id, error.message)
        if sent:
            yield CUT_OFF
            return
        if not await _is_on_its_way(context, attempt):
            break
        await asyncio.sleep(pause)
    async for text in _from_store(context, attempt, query):
        yield text


async def _is_on_its_way(context: MasterContext, attempt: Attempt) -> bool:
    """Whether the end of the log may still come: the attempt has just ended, and nothing is here yet."""
    ended = attempt.finished_at
    if ended is None or (context.clock.now() - ended).total_seconds() > TAIL_SECONDS:
        return False
    return await context.store.load_tail(attempt.task_id, attempt.attempt) is None


async def _find_attempt(context: MasterContext, task_id: str, query: LogQuery) -> Attempt | None:
    with context.feed.watch(task_id) as changed:
        while True:
            task = await tasks.get(context, task_id)
            if found := await _choose(context, task, query):
                return found
            if not query.follow or task.status.is_terminal:
                return None
            await changed.wait()
            changed.clear()


async def _choose(context: MasterContext, task: Task, query: LogQuery) -> Attempt | None:
    rows = await context.store.load_attempts(task.task_id)
    if query.attempt is None:
        return rows[-1] if rows else None
    found = next((row for row in rows if row.attempt == query.attempt), None)
    if found is None and (query.attempt <= task.attempt or not query.follow):
        raise NotFound.of("attempt")
    return found


async def _from_worker(
    relay: Relay, streams: Streams, attempt: Attempt, query: LogQuery
) -> AsyncIterator[bytes]:
    """Yield what the worker has. Raises Unavailable if it cannot be asked, or breaks off."""
    request = OpenStream(
        stream_id="",
        path="",
        task_id=attempt.task_id,
        attempt=attempt.attempt,
        tail=query.tail,
        since=query.since,
        follow=query.follow,
        stream=query.stream.value if query.stream else None,
    )
    async with streams.ask(partial(relay.ask, attempt.node_id), request) as stream:
        async for frames in stream.read():
            if text := _text(frames):
                yield text
        if stream.broken:
            raise Unavailable("the worker's connection broke")


async def end_of(
    context: MasterContext, relay: Relay, streams: Streams, task_id: str, attempt: int, lines: int
) -> str:
    """Return the last lines of an attempt's output, or of as much of it as came in time."""
    query, text = LogQuery(attempt=attempt, tail=lines), b""
    with suppress(TimeoutError, NotFound):
        async with asyncio.timeout(END_SECONDS):
            async for piece in read(context, relay, streams, task_id, query):
                text = (text + piece)[-MOST_END_BYTES:]
    return "\n".join(text.decode(errors="replace").replace("\0", "").splitlines()[-lines:])


def _text(frames: bytes) -> bytes:
    """Return what one message says, in one piece: a write for each of its lines would hold up everybody."""
    try:
        return b"".join(map(render, decode(frames)))
    except (ValueError, OverflowError):
        raise Unavailable("the worker sent something that is no log") from None


async def check(context: MasterContext, task_id: str, query: LogQuery) -> None:
    """Raises NotFound for an unknown task, or for an attempt that there never was."""
    await _choose(context, await tasks.get(context, task_id), query)


async def _from_store(context: MasterContext, attempt: Attempt, query: LogQuery) -> AsyncIterator[bytes]:
    tail = await context.store.load_tail(attempt.task_id, attempt.attempt)
    records = [] if tail is None else list(decode(tail.frames))
    if tail is not None and tail.dropped_bytes and records:
        records.insert(0, gap(records[0].at, tail.dropped_bytes))
    for record in select(records, stream=query.stream, since=query.since, tail=query.tail):
        yield render(record)
    if _may_lack(attempt, tail):
        yield CUT_OFF


def _may_lack(attempt: Attempt, tail: LogTail | None) -> bool:
    """Whether more was written than the store has; of one that wrote nothing at all it has nothing."""
    return attempt.status in _OPEN if tail is None else not tail.final
