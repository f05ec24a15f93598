"""The logs of the attempts that are or were here: read, followed, saved at the end, their ends sent on."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from heapq import heapify, heappop, heappush

from podling.core.agent_attempt import Held, HeldContainer
from podling.core.errors import NotFound, RuntimeFailure, Unavailable
from podling.core.logrecord import LastLines, LogRecord, Stream, decode, gap, newest, select, size_of
from podling.core.logrecord import encode as encode_records
from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.worker.log_files import PIECE_BYTES, Collected, Cursor, LogFiles, Tail, merged, tail_of
from podling.worker.runtime.base import Runtime
from podling.worker.shell import Shell
from podling.worker.tails import TailSender

FLUSH_SECONDS = 3.0
SHARE_OF_TIME = 10  # at most a tenth of the time goes into reading running logs
FOLLOW_AGAIN_SECONDS = 5.0
READ_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
DISK_AGAIN_SECONDS = 5.0
PRUNE_EVERY = 100  # flushes

_log = logging.getLogger(__name__)


class _Running:
    """The end of a running attempt's log, as far as it has been read."""

    def __init__(self) -> None:
        self.cursors: dict[str, Cursor] = {}
        self.frames = b""
        self.dropped_bytes = 0

    @property
    def read_bytes(self) -> int:
        return self.dropped_bytes + len(self.frames)

    def add(self, records: Sequence[LogRecord]) -> None:
        self.frames, dropped = newest(self.frames + encode_records(records))
        self.dropped_bytes += dropped


class Logs:
    """`shell.save_logs` is set to `save` by whoever puts the two together."""

    def __init__(self, shell: Shell, files: LogFiles, tails: TailSender) -> None:
        self._shell = shell
        self._files = files
        self._tails = tails
        self._running: dict[AttemptKey, _Running] = {}
        self._flushes = 0

    # Saving

    async def save(self, key: AttemptKey) -> None:
        """Keep the whole log of an attempt that has ended, and have its end brought to a master."""
        held = self._shell.held(key)
        if held is None or self._files.has(key):
            return  # saved before the worker was restarted; its end waits on disk
        logs = {one.name: await self._collect(held, one) for one in held.containers if one.container_id}
        tail = tail_of(key, list(logs.values()))
        self._running.pop(key, None)
        if not tail.frames:
            return
        await self._keep(key, logs, tail)
        self._tails.put(tail)

    async def _collect(self, held: Held, container: HeldContainer) -> Collected:
        for wait in READ_AGAIN_SECONDS:
            collected = Collected()
            try:
                async for piece in in_pieces(_records_of(self._runtime(held), container)):
                    if not collected.total_bytes and self._begins_late(held, container, piece[0]):
                        collected.add(gap(piece[0].at))
                    await asyncio.to_thread(collected.extend, piece)
                return collected
            except RuntimeFailure as failure:
                if failure.code != ErrorCode.RUNTIME:
                    break
                _log.warning("log of task %s, trying again: %s", held.key.task_id, failure.message)
                await asyncio.sleep(wait)
        return self._what_is_left(held, collected)

    def _begins_late(self, held: Held, container: HeldContainer, first: LogRecord) -> bool:
        """Whether what was first read while it ran is there no more: an engine keeps only so much."""
        running = self._running.get(held.key)
        cursor = running.cursors.get(container.name) if running is not None else None
        return cursor is not None and cursor.first is not None and cursor.first < first.at

    def _what_is_left(self, held: Held, collected: Collected) -> Collected:
        """The container is gone: what had been read while it ran, and a gap whose length nobody knows."""
        running = self._running.get(held.key)
        if collected.total_bytes == 0 and running is not None and len(held.containers) == 1:
            collected.extend(decode(running.frames))
        collected.add(gap(self._shell.clock.now()))
        return collected

    async def _keep(self, key: AttemptKey, logs: dict[str, Collected], tail: Tail) -> None:
        while True:
            try:
                return await self._files.save(key, logs, tail)
            except Unavailable as error:
                _log.error("%s; trying again", error.message)
                await asyncio.sleep(DISK_AGAIN_SECONDS)

    # The ends of what runs

    async def flush_running(self) -> float:
        """Read on in every running attempt's log; return how many seconds to wait before the next."""
        clock = self._shell.clock
        begun = clock.monotonic()
        for held in list(self._shell.state.attempts.values()):
            since = held.running_since
            if held.final is None and since is not None and begun - since >= FLUSH_SECONDS:
                await self._flush(held)
        self._running = {key: one for key, one in self._running.items() if self._shell.held(key)}
        await self._prune_sometimes()
        return max(FLUSH_SECONDS, (clock.monotonic() - begun) * SHARE_OF_TIME)

    async def _flush(self, held: Held) -> None:
        running = self._running.setdefault(held.key, _Running())
        sources = [
            self._read_on(held, one, running.cursors.setdefault(one.name, Cursor()))
            for one in held.containers
            if one.container_id is not None and one.has_run
        ]
        before = running.read_bytes
        async for piece in in_pieces(in_order(sources)):
            running.add(piece)
        if running.read_bytes == before:
            return
        now = self._shell.held(held.key)
        if now is not None and now.final is None:
            tail = Tail(
                key=held.key, frames=running.frames, dropped_bytes=running.dropped_bytes, is_final=False
            )
            self._tails.put(tail)

    async def _read_on(
        self, held: Held, container: HeldContainer, cursor: Cursor
    ) -> AsyncIterator[LogRecord]:
        try:
            async for record in cursor.fresh(_records_of(self._runtime(held), container, cursor)):
                yield record
        except RuntimeFailure as failure:
            _log.debug("log of task %s cannot be read now: %s", held.key.task_id, failure.message)

    async def _prune_sometimes(self) -> None:
        self._flushes += 1
        if self._flushes % PRUNE_EVERY == 1:
            await self._files.prune(self._shell.clock.now())

    # Reading

    def find(self, task_id: str) -> AttemptKey:
        """Return the newest attempt of the task that is or was here. Raises NotFound."""
        held = self._shell.latest(task_id)
        key = held.key if held is not None else self._files.latest(task_id)
        if key is None:
            raise NotFound.of("task")
        return key

    def check(self, key: AttemptKey, container: str | None = None) -> None:
        """Raise NotFound if there can be no log of it here."""
        held = self._shell.held(key)
        if held is not None:
            _chosen(held, container)
        elif not self._files.has(key) and key not in self._shell.state.done:
            raise NotFound.of("attempt")

    async def read(
        self,
        key: AttemptKey,
        container: str | None = None,
        *,
        stream: Stream | None = None,
        since: datetime | None = None,
        tail: int | None = None,
    ) -> AsyncGenerator[Sequence[LogRecord], None]:
        """Yield what there is of a log in pieces; with `tail`, what is left of it once all is read.

        Raises NotFound, and RuntimeFailure or Unavailable if it cannot be read.
        """
        last = None if tail is None else LastLines(tail)
        async with aclosing(self._pieces(key, container)) as pieces:
            async for piece in pieces:
                chosen = select(piece, stream=stream, since=since)
                if last is None:
                    yield chosen
                else:
                    last.extend(chosen)
        if last is not None:
            yield last.records

    async def _pieces(
        self, key: AttemptKey, container: str | None
    ) -> AsyncGenerator[Sequence[LogRecord], None]:
        if await self._files.keeps(key, container):
            async for piece in self._files.read(key, container):
                yield piece
            return
        held = self._shell.held(key)
        if held is None and key in self._shell.state.done:
            return  # it has written nothing
        if held is None:
            raise NotFound.of("attempt")
        chosen = [one for one in _chosen(held, container) if one.container_id]
        records = in_order([_records_of(self._runtime(held), one) for one in chosen])
        async for piece in in_pieces(records):
            yield piece

    async def follow(
        self, key: AttemptKey, container: str | None = None, tail: int | None = None
    ) -> AsyncGenerator[LogRecord, None]:
        """Yield a log, from its beginning or its last lines, until the attempt ends. Raises NotFound."""
        held = self._shell.held(key)
        if held is None or self._files.has(key):
            async for piece in self.read(key, container, tail=tail):
                for record in piece:
                    yield record
            return
        cursors = {one.name: Cursor() for one in _chosen(held, container)}
        if tail is not None:
            for record in select(await self._begin(held, cursors, tail), tail=tail):
                yield record
        followers = [self._follow_one(key, name, cursor) for name, cursor in cursors.items()]
        async with aclosing(_joined(followers)) as joined:
            async for record in joined:
                yield record

    async def _begin(self, held: Held, cursors: Mapping[str, Cursor], tail: int) -> list[LogRecord]:
        """Return each container's last lines so far, and leave the cursors behind them."""
        logs = []
        for name, cursor in cursors.items():
            container = held.container(name)
            if container is not None and container.has_run:
                records = _records_of(self._runtime(held), container)
                last = LastLines(tail)
                async for piece in in_pieces(cursor.fresh(records)):
                    last.extend(piece)
                logs.append(last.records)
        return merged(logs)

    async def _follow_one(
        self, key: AttemptKey, name: str, cursor: Cursor
    ) -> AsyncGenerator[LogRecord, None]:
        while (held := self._shell.held(key)) is not None and not self._files.has(key):
            container = held.container(name)
            assert container is not None
            has_ended = held.final is not None
            if container.has_run:
                records = _records_of(self._runtime(held), container, cursor, follow=not has_ended)
                async for record in cursor.fresh(records):
                    yield record
            if has_ended:
                return
            await self._changed()
        async for record in cursor.fresh(_singly(self._files.read(key, name))):
            yield record

    async def _changed(self) -> None:
        try:
            async with asyncio.timeout(FOLLOW_AGAIN_SECONDS):
                await self._shell.changed()
        except TimeoutError:
            return

    def _runtime(self, held: Held) -> Runtime:
        runtime = self._shell.runtime_of(held)
        if runtime is None:
            raise RuntimeFailure("this worker does not run that runtime now", code=ErrorCode.EXTERNAL)
        return runtime


def _chosen(held: Held, container: str | None) -> list[HeldContainer]:
    chosen = [one for one in held.containers if container in (None, one.name)]
    if not chosen:
        raise NotFound.of("container")
    return chosen


def _records_of(
    runtime: Runtime, container: HeldContainer, cursor: Cursor | None = None, *, follow: bool = False
) -> AsyncIterator[LogRecord]:
    assert container.container_id is not None
    since = cursor.since if cursor is not None else None
    return runtime.logs(container.container_id, since=since, follow=follow)


async def _singly(pieces: AsyncIterator[Sequence[LogRecord]]) -> AsyncIterator[LogRecord]:
    async for piece in pieces:
        for record in piece:
            yield record


async def in_pieces(records: AsyncIterator[LogRecord]) -> AsyncIterator[list[LogRecord]]:
    """Yield records by about PIECE_BYTES, letting others have a turn: who has much to say never waits."""
    piece: list[LogRecord] = []
    size = 0
    try:
        async for record in records:
            piece.append(record)
            size += size_of(record)
            if size >= PIECE_BYTES:
                yield piece
                await asyncio.sleep(0)
                piece, size = [], 0
    except RuntimeFailure:
        if piece:
            yield piece  # what came before the failure may be all that there ever is
        raise
    if piece:
        yield piece


async def in_order(sources: Sequence[AsyncIterator[LogRecord]]) -> AsyncIterator[LogRecord]:
    """Yield the records of several containers in the order of time, holding one of each."""
    first = [(await anext(source, None), index) for index, source in enumerate(sources)]
    heads = [(record.at, index, record) for record, index in first if record is not None]
    heapify(heads)
    while heads:
        _, index, record = heappop(heads)
        yield record
        if (following := await anext(sources[index], None)) is not None:
            heappush(heads, (following.at, index, following))


async def _joined(sources: Sequence[AsyncGenerator[LogRecord, None]]) -> AsyncGenerator[LogRecord, None]:
    """Yield what several sources yield, as it comes."""
    if len(sources) == 1:
        async for record in sources[0]:
            yield record
        return
    queue: asyncio.Queue[LogRecord | RuntimeFailure | None] = asyncio.Queue(100)
    pumps = [asyncio.create_task(_pump(source, queue)) for source in sources]
    try:
        left = len(pumps)
        while left:
            item = await queue.get()
            if isinstance(item, RuntimeFailure):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(
    source: AsyncIterator[LogRecord], queue: "asyncio.Queue[LogRecord | RuntimeFailure | None]"
) -> None:
    end: RuntimeFailure | None = None
    try:
        async for record in source:
            await queue.put(record)
    except RuntimeFailure as failure:
        end = failure
    await queue.put(end)
