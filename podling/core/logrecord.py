"""Log records and their byte form, shared by worker, store and masters.

A stream is a concatenation of frames: one byte of stream (1 stdout, 2 stderr, 3 a gap), eight of
time (microseconds since 1970, signed, big-endian), four of payload length, the payload. A gap's
payload is the count of bytes that were lost there, as ASCII digits; 0 if nobody knows it.
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from podling.core.value import value

TAIL_BYTES = 64 * 1024
MOST_TAILS = 256  # in one request of a worker; each may cost a look into the store. A worker sends 16.
MAX_PAYLOAD_BYTES = 64 * 1024

_HEADER = struct.Struct(">BqI")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Stream(IntEnum):
    STDOUT = 1
    STDERR = 2
    GAP = 3


@value
class LogRecord:
    """A piece of output as it arrived: usually a line, never more than MAX_PAYLOAD_BYTES."""

    at: datetime
    stream: Stream
    data: bytes


def gap(at: datetime, lost_bytes: int = 0) -> LogRecord:
    """Return the record that stands for output which is not there any more; 0 if nobody knows how much."""
    return LogRecord(at=at, stream=Stream.GAP, data=str(lost_bytes).encode())


def size_of(record: LogRecord) -> int:
    """Return how many bytes its frame has."""
    return _HEADER.size + len(record.data)


def encode(records: Iterable[LogRecord]) -> bytes:
    """Return the frames of the records."""
    return b"".join(
        _HEADER.pack(record.stream, (record.at - _EPOCH) // _MICROSECOND, len(record.data)) + record.data
        for record in records
    )


def decode(frames: bytes) -> Iterator[LogRecord]:
    """Yield the whole records of `frames`; a torn frame at the end is left out."""
    offset = 0
    while offset + _HEADER.size <= len(frames):
        stream, microseconds, length = _HEADER.unpack_from(frames, offset)
        end = offset + _HEADER.size + length
        if end > len(frames):
            return
        yield LogRecord(
            at=_EPOCH + timedelta(microseconds=microseconds),
            stream=Stream(stream),
            data=frames[offset + _HEADER.size : end],
        )
        offset = end


def newest(frames: bytes, max_bytes: int = TAIL_BYTES) -> tuple[bytes, int]:
    """Return the last whole frames within `max_bytes`, and how many bytes were dropped before them."""
    if len(frames) <= max_bytes:
        return frames, 0
    offset = 0
    while len(frames) - offset > max_bytes:
        _, _, length = _HEADER.unpack_from(frames, offset)
        offset += _HEADER.size + length
    return frames[offset:], offset


def select(
    records: Iterable[LogRecord],
    *,
    stream: Stream | None = None,
    since: datetime | None = None,
    tail: int | None = None,
) -> list[LogRecord]:
    """Return the records of one stream (gaps stay), from a time on, the last `tail` lines of them."""
    chosen = [
        record
        for record in records
        if (stream is None or record.stream in (stream, Stream.GAP)) and (since is None or record.at >= since)
    ]
    if tail is None:
        return chosen
    last = LastLines(tail)
    last.extend(chosen)
    return list(last.records)


class LastLines:
    """The newest of the records that it is given: as few as hold the last `lines` lines."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._held = 0
        self.records: deque[LogRecord] = deque()

    def extend(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            self.records.append(record)
            self._held += _lines_of(record)
            while self.records and self._held - _lines_of(self.records[0]) >= self._lines:
                self._held -= _lines_of(self.records.popleft())


def _lines_of(record: LogRecord) -> int:
    return record.data.count(b"\n") or 1


def render(record: LogRecord) -> bytes:
    """Return what a person reads: the payload, or a line that says how much is missing."""
    if record.stream is Stream.GAP and record.data == b"0":
        return b"[podling: a part of the log is missing here]\n"
    if record.stream is Stream.GAP:
        return b"[podling: " + record.data + b" bytes of log are missing here]\n"
    return record.data
