"""A container's output, taken apart into records."""

import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from podling.core.logrecord import MAX_PAYLOAD_BYTES, LogRecord, Stream
from podling.core.value import value
from podling.worker.runtime.base import LogLimit

_LONGEST_ENTRY = b'{"log":"","stream":"stderr","time":"2026-01-01T00:00:00.123456789Z"}\n'
_IN_TWO = b'"\\\n\r'
_IN_SIX = bytes({*range(0x20), 0x7F, *b"<>&"} - set(_IN_TWO))
_BUT_IN_TWO = bytes(set(range(256)) - set(_IN_TWO))
_BUT_IN_SIX = bytes(set(range(256)) - set(_IN_SIX))
_THREE_IN_SIX = (b"\xef\xbf\xbd", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_HEADER = struct.Struct(">BxxxL")
_STDERR = 2


@value
class LogSize:
    """The engine begins a new file when one has `file_bytes`, and keeps as many `files`."""

    file_bytes: int
    files: int

    @property
    def limit(self) -> LogLimit:
        # The newest file may just have been begun.
        return LogLimit(surely_kept_bytes=(self.files - 1) * self.file_bytes, size_of=kept_bytes)


def kept_bytes(record: LogRecord) -> int:
    """Return at most how many bytes the engine's `json-file` writes for a record."""
    data = record.data
    more = len(data.translate(None, _BUT_IN_TWO)) + 5 * len(data.translate(None, _BUT_IN_SIX))
    return len(_LONGEST_ENTRY) + len(data) + more + 3 * sum(map(data.count, _THREE_IN_SIX))


def records(chunks: Iterable[bytes]) -> Iterator[list[LogRecord]]:
    """Yield per chunk the records that it completes. Frames have the engine's header and its timestamp."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        batch, used = _whole_frames(buffer)
        del buffer[:used]
        if batch:
            yield batch


def _whole_frames(buffer: bytearray) -> tuple[list[LogRecord], int]:
    batch: list[LogRecord] = []
    offset = 0
    while offset + _HEADER.size <= len(buffer):
        stream, length = _HEADER.unpack_from(buffer, offset)
        end = offset + _HEADER.size + length
        if end > len(buffer):
            break
        batch.extend(_records_of(stream, bytes(buffer[offset + _HEADER.size : end])))
        offset = end
    return batch, offset


def _records_of(stream: int, frame: bytes) -> Iterator[LogRecord]:
    time, _, data = frame.partition(b" ")
    at = datetime.fromisoformat(time.decode("ascii")).astimezone(UTC)
    source = Stream.STDERR if stream == _STDERR else Stream.STDOUT
    for start in range(0, max(len(data), 1), MAX_PAYLOAD_BYTES):
        yield LogRecord(at=at, stream=source, data=data[start : start + MAX_PAYLOAD_BYTES])


def since_parameter(since: datetime) -> str:
    """Return the engine's form of a time: seconds and nanoseconds since 1970."""
    whole = int(since.timestamp())
    return f"{whole}.{since.microsecond:06d}000"
