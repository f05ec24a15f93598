"""What functions print and log: each line goes to the log of the task that wrote it.

Whose it is, is told by a context variable, which asyncio's tasks and `asyncio.to_thread` hand on. A
log is a file of frames (`podling.core.logrecord`), made with its first line.
"""

import errno
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from podling.core.logrecord import MAX_PAYLOAD_BYTES, LogRecord, Stream, encode, gap

MOST_LOG_BYTES = 64 * 1024 * 1024
"""Of one attempt; what comes after is counted, and stands as a gap at its end."""

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

_NEVER = datetime.min.replace(tzinfo=UTC)

_own = logging.getLogger(__name__)

current: ContextVar["Log | None"] = ContextVar("podling_log", default=None)


class Log:
    """One attempt's log. Lines are written whole, and the rest at a flush or the end."""

    def __init__(self, path: Path, grown: Callable[[], None], most_bytes: int = MOST_LOG_BYTES) -> None:
        self._path = path
        self._grown = grown
        self._left = most_bytes
        self._lost = 0
        self._rests = {Stream.STDOUT: b"", Stream.STDERR: b""}
        self._lock = threading.Lock()
        self._file: int | None = None
        self._last = _NEVER
        self._is_closed = False

    def write(self, stream: int, text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        with self._lock:
            *lines, rest = (self._rests[Stream(stream)] + data).split(b"\n")
            whole = [line + b"\n" for line in lines]
            if len(rest) > MAX_PAYLOAD_BYTES or self._is_closed:
                whole, rest = [*whole, rest], b""
            self._rests[Stream(stream)] = rest
            self._put(Stream(stream), whole)

    def flush(self) -> None:
        with self._lock:
            for stream, rest in self._rests.items():
                if rest:
                    self._put(stream, [rest])
                    self._rests[stream] = b""

    def close(self) -> None:
        """Write what is left. What a thread that outlives the function prints later is still taken."""
        self.flush()
        with self._lock:
            if self._lost:
                self._append([gap(self._now(), self._lost)])
                self._lost = 0
            if self._file is not None:
                os.close(self._file)
            self._file, self._is_closed = None, True

    def _put(self, stream: Stream, lines: Iterable[bytes]) -> None:
        pieces = [
            line[start : start + MAX_PAYLOAD_BYTES]
            for line in lines
            for start in range(0, len(line), MAX_PAYLOAD_BYTES)
        ]
        kept = []
        for piece in pieces:
            if len(piece) > self._left:
                self._left, self._lost = 0, self._lost + len(piece)
            else:
                self._left -= len(piece)
                kept.append(LogRecord(at=self._now(), stream=stream, data=piece))
        if kept:
            self._append(kept)

    def _append(self, records: Sequence[LogRecord]) -> None:
        """Write them; what the disk refuses is counted, since a function cannot help it."""
        try:
            self._append_frames(encode(records))
        except OSError as error:
            self._lost += sum(len(record.data) for record in records)
            _own.warning("the log %s cannot be written: %s", self._path, error)
        self._grown()

    def _append_frames(self, frames: bytes) -> None:
        file = os.open(self._path, _APPEND, 0o600) if self._file is None else self._file
        self._file = file
        try:
            size = os.fstat(file).st_size
            if os.write(file, frames) < len(frames):
                os.ftruncate(file, size)  # half a frame would spoil what follows
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            if self._is_closed:
                os.close(file)
                self._file = None

    def _now(self) -> datetime:
        """Readers go by times, so they never fall."""
        self._last = max(self._last, datetime.now(UTC))
        return self._last


class _Bytes(io.RawIOBase):
    """The `buffer` of a stream, for those who print bytes."""

    def __init__(self, stream: Stream, otherwise: BinaryIO) -> None:
        self._stream = stream
        self._otherwise = otherwise

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        log = current.get()
        if log is None:
            return self._otherwise.write(data)
        log.write(self._stream, bytes(data))
        return len(data)

    def flush(self) -> None:
        log = current.get()
        if log is None:
            self._otherwise.flush()
        else:
            log.flush()


class _Text(io.TextIOBase):
    """Stands for stdout or stderr: to the current task's log, or else to the worker's own stream."""

    encoding = "utf-8"

    def __init__(self, stream: Stream, otherwise: TextIO) -> None:
        self._stream = stream
        self._otherwise = otherwise
        self.buffer = _Bytes(stream, otherwise.buffer)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        log = current.get()
        if log is None:
            return self._otherwise.write(text)
        log.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self.buffer.flush()
        if current.get() is None:
            self._otherwise.flush()

    def fileno(self) -> int:
        return self._otherwise.fileno()


def redirect() -> None:
    """From now on what is printed goes where it belongs."""
    sys.stdout = _Text(Stream.STDOUT, sys.stdout)
    sys.stderr = _Text(Stream.STDERR, sys.stderr)


def log_by_default() -> None:
    """Have what is logged printed, unless a module has set that up in its own way."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
