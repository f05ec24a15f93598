"""A container's output, taken apart into records."""

import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from podling.core.logrecord import MAX_PAYLOAD_BYTES, LogRecord, Stream

_HEADER = struct.Struct(">BxxxL")
_STDERR = 2


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
