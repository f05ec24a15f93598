"""The logs of the attempts that are or were here: read, followed, saved at the end, their ends sent on."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime

from podling.core.agent_attempt import Held, HeldContainer
from podling.core.errors import NotFound, RuntimeFailure, Unavailable
from podling.core.logrecord import LastLines, LogRecord, Stream, decode, gap, newest, select, size_of
from podling.core.logrecord import encode as encode_records
from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.worker.log_beginnings import Beginning
from podling.worker.log_files import Collected, Cursor, LogFiles, Tail, merged, tail_of
from podling.worker.log_pace import Pace
from podling.worker.log_records import in_order, in_pieces, joined, singly
from podling.worker.runtime.base import Runtime
from podling.worker.shell import Shell
from podling.worker.tails import TailSender

FLUSH_SECONDS = 3.0
SHARE_OF_TIME = 10  # at most a tenth of the time goes into reading running logs
FOLLOW_AGAIN_SECONDS = 5.0
READ_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
DISK_AGAIN_SECONDS = 5.0
BEHIND_BYTES = 1024 * 1024  # come while they were read
PRUNE_EVERY = 100  # flushes

_log = logging.getLogger(__name__)


class _Running:
    """The end of a running attempt's log, as far as it has been read."""

    def __init__(self) -> None:
        self.cursors: dict[str, Cursor] = {}
        self.beginnings: dict[str, Beginning] = {}
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
                beginning = self._beginning(held, container)
                was_known = beginning.is_known
                await self._read_into(collected, held, container, beginning)
                if beginning.is_lost and not was_known:  # its length has shown it: now from its first line on
                    collected = Collected()
                    await self._read_into(collected, held, container, beginning)
                return collected
            except RuntimeFailure as failure:
                if failure.code != ErrorCode.RUNTIME:
                    break
                _log.warning("log of task %s, trying again: %s", held.key.task_id, failure.message)
                await asyncio.sleep(wait)
        return self._what_is_left(held, collected)

    async def _read_into(
        self, collected: Collected, held: Held, container: HeldContainer, beginning: Beginning
    ) -> None:
        records = beginning.measured(_records_of(self._runtime(held), container))
        async for piece in in_pieces(beginning.marked(records)):
            await asyncio.to_thread(collected.extend, piece)

    def _beginning(self, held: Held, container: HeldContainer) -> Beginning:
        beginnings = self._running.setdefault(held.key, _Running()).beginnings
        limit = self._runtime(held).log_limit
        own = limit and limit.of(container.spec.logging)
        return beginnings.setdefault(container.name, Beginning(own))

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
            records = _records_of(self._runtime(held), container, cursor)
            if cursor.since is None:
                records = self._beginning(held, container).measured(records)
            async for record in cursor.fresh(records):
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
        held = self._shell.held(key)  # before the files: while those are looked at it may be let go of
        if await self._files.keeps(key, container):
            async for piece in self._files.read(key, container):
                yield piece
            return
        if held is None and key in self._shell.state.done:
            return  # it has written nothing
        if held is None:
            raise NotFound.of("attempt")
        began = False
        try:
            async for found in self._pieces_of(held, container):
                began = True
                yield found
        except RuntimeFailure:
            if began or not await self._files.keeps(key, container):
                raise
        if not began and await self._files.keeps(key, container):
            # Saved, and the container removed meanwhile: an engine may say that as if there were nothing.
            async for saved in self._files.read(key, container):
                yield saved

    async def _pieces_of(
        self, held: Held, container: str | None
    ) -> AsyncGenerator[Sequence[LogRecord], None]:
        chosen = [one for one in _chosen(held, container) if one.container_id]
        records = in_order([await self._from_beginning(held, one) for one in chosen])
        async for piece in in_pieces(records):
            yield piece

    async def _from_beginning(self, held: Held, container: HeldContainer) -> AsyncIterator[LogRecord]:
        """Return what there is now, a gap before it if that lacks its beginning."""
        beginning = self._beginning(held, container)
        if not beginning.is_known:
            async for _ in in_pieces(beginning.measured(_records_of(self._runtime(held), container))):
                pass
        return beginning.marked(_records_of(self._runtime(held), container))

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
        async with aclosing(joined(followers)) as records:
            async for record in records:
                yield record

    async def _begin(self, held: Held, cursors: Mapping[str, Cursor], tail: int) -> list[LogRecord]:
        """Return each container's last lines so far, and leave the cursors behind them."""
        logs = []
        for name, cursor in cursors.items():
            container = held.container(name)
            if container is not None and container.has_run:
                records = await self._from_beginning(held, container)
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
                try:
                    async for record in self._follow_on(held, container, cursor, until_ended=not has_ended):
                        yield record
                except RuntimeFailure:
                    if not self._files.has(key):
                        raise
                    break  # saved and removed meanwhile: what is left to read is in the file
            if has_ended:
                return
            await self._changed()
        async for record in cursor.fresh(singly(self._files.read(key, name))):
            yield record

    async def _follow_on(
        self, held: Held, container: HeldContainer, cursor: Cursor, *, until_ended: bool
    ) -> AsyncIterator[LogRecord]:
        """Yield what has come, and then what comes.

        An engine that drops anything skips it for who follows too slowly, in silence. What it gives
        at once it holds on to, so who is behind asks for that, and begins where the last one ended.
        """
        while True:
            size = 0
            async for record in cursor.fresh(await self._unread(held, container, cursor)):
                size += size_of(record)
                yield record
            if not until_ended:
                return
            if size >= BEHIND_BYTES:
                continue
            pace = Pace(self._shell.clock)
            records = pace.kept(_records_of(self._runtime(held), container, cursor, follow=True))
            async for record in cursor.fresh(records):
                yield record
            if not pace.is_behind:
                return

    async def _unread(self, held: Held, container: HeldContainer, cursor: Cursor) -> AsyncIterator[LogRecord]:
        if cursor.since is None:
            return await self._from_beginning(held, container)
        return _records_of(self._runtime(held), container, cursor)

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
