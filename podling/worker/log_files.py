"""The whole logs of ended attempts, kept on the worker: compressed, capped, for a while.

`logs/<task>/<attempt>/<container>.z` holds the frames of `podling.core.logrecord`, compressed by
zlib; `tail` beside it is the end of the attempt's log as long as no master has taken it.
"""

import asyncio
import os
import shutil
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from podling.core.errors import Unavailable
from podling.core.logrecord import TAIL_BYTES, LogRecord, Stream, decode, encode, gap, newest, size_of
from podling.core.protocol import AttemptKey
from podling.core.value import value

HEAD_BYTES = 32 * 1024 * 1024
RING_BYTES = 16 * 1024 * 1024
MOST_BYTES = 2 * 1024 * 1024 * 1024
RETENTION_SECONDS = 7 * 86400.0

_TAIL = "tail"
_SUFFIX = ".z"
_DRAFT = ".draft"
_READ_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
"""Of a log that is worked on at once: a few milliseconds' work, whoever has the processor meanwhile."""


@value
class Tail:
    """The newest frames of an attempt's log, and how many bytes came before them."""

    key: AttemptKey
    frames: bytes
    dropped_bytes: int
    is_final: bool


class Collected:
    """One container's log while it is collected: its beginning and its end, a gap between them."""

    def __init__(self, head_bytes: int = HEAD_BYTES, ring_bytes: int = RING_BYTES) -> None:
        self._head_left = head_bytes
        self._ring_bytes = ring_bytes
        self._compressor: Any = None  # costs more than all else about a task that writes nothing
        self._compressed: list[bytes] = []
        self._ring: deque[LogRecord] = deque()
        self._ring_size = 0
        self._lost: int = 0
        self._newest: deque[bytes] = deque()
        self._newest_size = 0
        self.total_bytes = 0

    def extend(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            self.add(record)

    def add(self, record: LogRecord) -> None:
        frame = encode((record,))
        self.total_bytes += len(frame)
        self._keep_newest(frame)
        if self._head_left >= len(frame):
            self._head_left -= len(frame)
            self._compressed.append(self._compress(frame))
            return
        self._head_left = 0
        self._ring.append(record)
        self._ring_size += len(frame)
        while self._ring_size > self._ring_bytes:
            dropped = self._ring.popleft()
            self._ring_size -= size_of(dropped)
            self._lost += len(dropped.data)

    def _keep_newest(self, frame: bytes) -> None:
        self._newest.append(frame)
        self._newest_size += len(frame)
        while self._newest_size > TAIL_BYTES and len(self._newest) > 1:
            self._newest_size -= len(self._newest.popleft())

    def _compress(self, frames: bytes) -> bytes:
        if self._compressor is None:
            self._compressor = zlib.compressobj(level=1)
        compressed: bytes = self._compressor.compress(frames)
        return compressed

    def newest(self) -> bytes:
        """Return frames of at least the last TAIL_BYTES, if there are as many."""
        return b"".join(self._newest)

    def finish(self) -> bytes:
        """Return the compressed file."""
        if self._lost:
            lost = gap(self._ring[0].at if self._ring else datetime.now(UTC), self._lost)
            self._compressed.append(self._compress(encode((lost,))))
        self._compressed.append(self._compress(encode(self._ring)))
        end: bytes = self._compressor.flush()
        return b"".join(self._compressed) + end


def merged(logs: Sequence[Sequence[LogRecord]]) -> list[LogRecord]:
    """Return the records of several containers in the order of time."""
    return list(merge(*logs, key=lambda record: record.at))


def tail_of(key: AttemptKey, collected: Sequence[Collected]) -> Tail:
    """Return the end of an attempt's log over all its containers."""
    total = sum(one.total_bytes for one in collected)
    parts = [one.newest() for one in collected]
    frames = parts[0] if len(parts) == 1 else encode(merged([list(decode(part)) for part in parts]))
    kept, _ = newest(frames)
    return Tail(key=key, frames=kept, dropped_bytes=total - len(kept), is_final=True)


class LogFiles:
    """Every call that touches the disk is made in a thread."""

    def __init__(
        self,
        directory: Path,
        *,
        most_bytes: int = MOST_BYTES,
        retention_seconds: float = RETENTION_SECONDS,
    ) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._retention_seconds = retention_seconds

    async def save(self, key: AttemptKey, logs: Mapping[str, Collected], tail: Tail) -> None:
        """Keep an attempt's log; on disk when it returns. Raises Unavailable if the disk refuses it."""
        try:
            await asyncio.to_thread(self._save, key, logs, tail)
        except OSError as error:
            raise Unavailable(
                f"the log of task {key.task_id} cannot be kept: {error.strerror}", code="disk_full"
            ) from error

    def _save(self, key: AttemptKey, logs: Mapping[str, Collected], tail: Tail) -> None:
        complete = self._folder(key)
        folder = complete.with_name(f"{complete.name}{_DRAFT}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        for name, collected in logs.items():
            _write(folder / (quote(name, safe="") + _SUFFIX), collected.finish())
        if tail.frames:
            _write(folder / _TAIL, tail.dropped_bytes.to_bytes(8, "big") + tail.frames)
        _sync_folder(folder)
        folder.rename(complete)
        _sync_folder(complete.parent)

    def has(self, key: AttemptKey) -> bool:
        return self._folder(key).is_dir()

    async def keeps(self, key: AttemptKey, container: str | None = None) -> bool:
        """Whether there is a log of one container, or of any."""
        return bool(await asyncio.to_thread(self._paths, key, container))

    async def read(
        self, key: AttemptKey, container: str | None = None
    ) -> AsyncGenerator[list[LogRecord], None]:
        """Yield the records of one container, or of all, in pieces of PIECE_BYTES; none if there is no log.

        Raises Unavailable if the disk does not give them.
        """
        pieces = self._pieces(key, container)
        try:
            while piece := await asyncio.to_thread(next, pieces, None):
                yield piece
        except (OSError, zlib.error) as error:
            raise Unavailable(f"the log of task {key.task_id} cannot be read: {error}") from error

    def _pieces(self, key: AttemptKey, container: str | None) -> Iterator[list[LogRecord]]:
        logs = [_records(path) for path in self._paths(key, container)]
        records = merge(*logs, key=lambda record: record.at)
        while piece := _piece(records):
            yield piece

    def _paths(self, key: AttemptKey, container: str | None) -> list[Path]:
        folder = self._folder(key)
        if container is None:
            return sorted(folder.glob(f"*{_SUFFIX}"))
        path = folder / (quote(container, safe="") + _SUFFIX)
        return [path] if path.exists() else []

    def latest(self, task_id: str) -> AttemptKey | None:
        """Return the newest attempt of the task that has a log here."""
        attempts = [int(path.name) for path in _entries(self._task_folder(task_id)) if path.name.isdecimal()]
        return AttemptKey(task_id=task_id, attempt=max(attempts)) if attempts else None

    def pending_tails(self) -> list[AttemptKey]:
        """Return the attempts whose final tail no master has taken yet."""
        tails = self._directory.glob(f"*/*/{_TAIL}")
        return [_key_of(path.parent) for path in tails if path.parent.name.isdecimal()]

    async def load_tail(self, key: AttemptKey) -> Tail | None:
        return await asyncio.to_thread(self._load_tail, key)

    def _load_tail(self, key: AttemptKey) -> Tail | None:
        try:
            content = (self._folder(key) / _TAIL).read_bytes()
        except FileNotFoundError:
            return None
        dropped = int.from_bytes(content[:8], "big")
        return Tail(key=key, frames=content[8:], dropped_bytes=dropped, is_final=True)

    async def drop_tail(self, key: AttemptKey) -> None:
        """A master has taken it."""
        await asyncio.to_thread((self._folder(key) / _TAIL).unlink, missing_ok=True)

    async def prune(self, now: datetime) -> None:
        """Remove what is too old, and the oldest of what is too much."""
        await asyncio.to_thread(self._prune, now.timestamp())

    def _prune(self, now: float) -> None:
        folders = sorted(
            (path.stat().st_mtime, path) for path in self._directory.glob("*/*") if path.is_dir()
        )
        sizes = {path: _size(path) for _, path in folders}
        total = sum(sizes.values())
        for at, path in folders:
            is_old = now - at > self._retention_seconds and not (path / _TAIL).exists()
            if total <= self._most_bytes and not is_old:
                continue
            total -= sizes[path]
            shutil.rmtree(path)
            if not _entries(path.parent):
                path.parent.rmdir()

    def _task_folder(self, task_id: str) -> Path:
        return self._directory / f"t-{quote(task_id, safe='')}"

    def _folder(self, key: AttemptKey) -> Path:
        return self._task_folder(key.task_id) / str(key.attempt)


def _key_of(folder: Path) -> AttemptKey:
    return AttemptKey(task_id=unquote(folder.parent.name.removeprefix("t-")), attempt=int(folder.name))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _records(path: Path) -> Iterator[LogRecord]:
    torn = b""
    for part in _decompressed(path):
        frames, whole = torn + part, 0
        for record in decode(frames):
            whole += size_of(record)
            yield record
        torn = frames[whole:]


def _decompressed(path: Path) -> Iterator[bytes]:
    """Yield parts of at most _READ_BYTES, however few bytes each of them is made of."""
    decompressor = zlib.decompressobj()
    with path.open("rb") as file:
        while compressed := decompressor.unconsumed_tail or file.read(_READ_BYTES):
            yield decompressor.decompress(compressed, _READ_BYTES)
    yield decompressor.flush()


def _piece(records: Iterator[LogRecord]) -> list[LogRecord]:
    piece, size = [], 0
    for record in records:
        piece.append(record)
        size += size_of(record)
        if size >= PIECE_BYTES:
            break
    return piece


class Cursor:
    """Reads on where the last reading of a container's log ended, without repeating or leaving out."""

    def __init__(self) -> None:
        self._last: datetime | None = None
        self._count = 0  # records of that very moment already seen

    @property
    def since(self) -> datetime | None:
        return self._last

    async def fresh(self, records: AsyncIterator[LogRecord]) -> AsyncIterator[LogRecord]:
        """Yield what has not been read before from records that begin at `since`.

        If what was read last is not there any more, some of what came after it may be missing too.
        """
        skip, moment = self._count, self._last
        is_joined = moment is None
        async for record in records:
            if moment is not None and record.at < moment:
                continue
            if record.at == moment and skip > 0 and record.stream is not Stream.GAP:
                is_joined = True
                skip -= 1
                continue
            if not is_joined and record.stream is not Stream.GAP:
                yield gap(record.at)
            is_joined = True
            self._saw(record)
            yield record

    def _saw(self, record: LogRecord) -> None:
        if record.stream is Stream.GAP:
            return
        if self._last is None or record.at > self._last:
            self._last, self._count = record.at, 1
        elif record.at == self._last:
            self._count += 1
