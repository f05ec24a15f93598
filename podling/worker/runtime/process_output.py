"""Processes' output: two files each, which need no reader, and an index of when somebody saw them grow."""

import asyncio
import os
import struct
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import MAX_PAYLOAD_BYTES, LogRecord, Stream
from podling.core.retry import ErrorCode
from podling.core.value import value
from podling.worker.runtime.keeper import OUTPUT
from podling.worker.runtime.keeper_system import STDERR, STDOUT, TIMES
from podling.worker.runtime.process_inotify import Inotify

BATCH_BYTES = 1024 * 1024
_ENTRY = struct.Struct(">qQQ")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STREAMS = (Stream.STDOUT, Stream.STDERR)
_FILES = (STDOUT, STDERR)


@value
class Seen:
    """The sizes of both files at a time, in microseconds since 1970."""

    at: int
    sizes: tuple[int, int]


class Growth:
    """When one process's files had which sizes; kept beside them, so that a time never changes."""

    def __init__(self, files: Sequence[Path], path: Path) -> None:
        self._files = files
        self._path = path
        self._lock = threading.Lock()
        self._seen = list(self._load())

    def _load(self) -> Iterator[Seen]:
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = len(data) - len(data) % _ENTRY.size
        for at, out, err in _ENTRY.iter_unpack(data[:whole]):
            yield Seen(at=at, sizes=(out, err))

    def look(self, live: bool) -> list[Seen]:
        """Return all that was seen, the present sizes included; `live` if they are as new as now."""
        with self._lock:
            states = [file.stat() for file in self._files]
            sizes = (states[0].st_size, states[1].st_size)
            if sizes != (self._seen[-1].sizes if self._seen else (0, 0)):
                now = time.time_ns() if live else max(state.st_mtime_ns for state in states)
                self._append(Seen(at=now // 1000, sizes=sizes))
            return self._seen

    def _append(self, seen: Seen) -> None:
        with self._path.open("ab") as file:
            file.write(_ENTRY.pack(seen.at, *seen.sizes))
        self._seen.append(seen)


class Reader:
    """A place in one process's output."""

    def __init__(self, files: Sequence[Path], growth: Growth, since: datetime | None) -> None:
        self._files = [os.open(file, os.O_RDONLY | os.O_CLOEXEC) for file in files]
        self._growth = growth
        self._since = since
        self._place = [0, 0]
        self._entry = 0

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)

    def read(self, live: bool) -> list[LogRecord]:
        """Return the next records, about BATCH_BYTES of them; none if there are no more now."""
        seen = self._growth.look(live)
        batch: list[LogRecord] = []
        taken = 0
        while self._entry < len(seen) and taken < BATCH_BYTES:
            entry = seen[self._entry]
            at = _EPOCH + timedelta(microseconds=entry.at)
            wanted = self._since is None or at >= self._since
            for index in range(len(_FILES)):
                data = self._take(index, entry.sizes[index], wanted, BATCH_BYTES - taken)
                taken += len(data)
                batch.extend(LogRecord(at=at, stream=_STREAMS[index], data=line) for line in _lines(data))
            if self._place[0] >= entry.sizes[0] and self._place[1] >= entry.sizes[1]:
                self._entry += 1
        return batch

    def _take(self, index: int, end: int, wanted: bool, limit: int) -> bytes:
        start = self._place[index]
        if not wanted:
            self._place[index] = max(start, end)
            return b""
        data = os.pread(self._files[index], min(end - start, limit), start) if end > start else b""
        self._place[index] += len(data)
        return data


class Output:
    """The output of all processes of one worker."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / "processes" / OUTPUT
        self._growths: dict[str, Growth] = {}
        self._inotify = Inotify()

    def open(self) -> None:
        """Be ready to follow. Raises RuntimeFailure if the kernel gives no means to."""
        self._inotify.open()

    def close(self) -> None:
        self._inotify.close()

    def forget(self, container_id: str) -> None:
        """Let go of what was removed."""
        self._growths.pop(container_id, None)

    async def read(
        self, container_id: str, *, since: datetime | None, ended: asyncio.Event | None
    ) -> AsyncIterator[LogRecord]:
        """Yield what is there; with `ended`, go on until that is set and everything has been read.

        Raises RuntimeFailure if it is not there, or is removed meanwhile.
        """
        try:
            async with aclosing(self._read(container_id, since, ended)) as records:
                async for record in records:
                    yield record
        except FileNotFoundError:
            raise RuntimeFailure("The process's output is not there.", code=ErrorCode.EXTERNAL) from None

    async def _read(
        self, container_id: str, since: datetime | None, ended: asyncio.Event | None
    ) -> AsyncGenerator[LogRecord, None]:
        files = [self._directory / (container_id + kind) for kind in _FILES]
        reader = await asyncio.to_thread(self._reader, container_id, files, since)
        try:
            if ended is None:
                async for record in _rest(reader, live=False):
                    yield record
                return
            with self._inotify.watch(files) as grown:
                async with aclosing(_followed(reader, grown, ended)) as records:
                    async for record in records:
                        yield record
        finally:
            reader.close()

    def _reader(self, container_id: str, files: Sequence[Path], since: datetime | None) -> Reader:
        growth = self._growths.get(container_id)
        if growth is None:
            growth = self._growths[container_id] = Growth(files, self._directory / (container_id + TIMES))
        return Reader(files, growth, since)


async def _followed(
    reader: Reader, grown: asyncio.Event, ended: asyncio.Event
) -> AsyncGenerator[LogRecord, None]:
    end = asyncio.create_task(ended.wait())
    try:
        while True:
            last = ended.is_set()
            grown.clear()
            async for record in _rest(reader, live=not last):
                yield record
            if last:
                return
            growth = asyncio.create_task(grown.wait())
            try:
                await asyncio.wait({growth, end}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                growth.cancel()  # also when the reader leaves
    finally:
        end.cancel()


async def _rest(reader: Reader, live: bool) -> AsyncIterator[LogRecord]:
    while batch := await asyncio.to_thread(reader.read, live):
        for record in batch:
            yield record


def _lines(data: bytes) -> Iterator[bytes]:
    for line in _split(data):
        for start in range(0, len(line), MAX_PAYLOAD_BYTES):
            yield line[start : start + MAX_PAYLOAD_BYTES]


def _split(data: bytes) -> Iterator[bytes]:
    *lines, rest = data.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest
