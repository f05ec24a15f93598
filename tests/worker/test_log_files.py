"""Whole logs on disk: read back as written, capped with a gap, pruned, and never half there."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.errors import Unavailable
from podling.core.logrecord import TAIL_BYTES, LogRecord, Stream, decode, gap, size_of
from podling.core.protocol import AttemptKey
from podling.worker.log_files import PIECE_BYTES, Collected, Cursor, LogFiles, tail_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = AttemptKey(task_id="../odd/name", attempt=2)


def line(second: float, text: str = "x\n", stream: Stream = Stream.STDOUT) -> LogRecord:
    return LogRecord(at=NOW + timedelta(seconds=second), stream=stream, data=text.encode())


def collect(records: list[LogRecord], **sizes: int) -> Collected:
    collected = Collected(**sizes)
    for record in records:
        collected.add(record)
    return collected


async def read(files: LogFiles, container: str | None = None) -> list[LogRecord]:
    return [record async for piece in files.read(KEY, container) for record in piece]


async def test_reads_back_what_was_saved(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    first, second = [line(1, "a\n"), line(3, "c\n", Stream.STDERR)], [line(2, "b\n")]
    logs = {"main": collect(first), "si/de": collect(second)}
    await files.save(KEY, logs, tail_of(KEY, list(logs.values())))

    assert await read(files) == [line(1, "a\n"), line(2, "b\n"), line(3, "c\n", Stream.STDERR)]
    assert await read(files, "si/de") == second
    assert await files.keeps(KEY) and await files.keeps(KEY, "si/de")
    assert not await files.keeps(KEY, "other") and await read(files, "other") == []
    assert not await files.keeps(AttemptKey(task_id="t", attempt=1))
    assert files.latest(KEY.task_id) == KEY
    assert all(tmp_path in path.parents for path in tmp_path.rglob("*"))


async def test_a_log_beyond_the_cap_keeps_both_ends_and_says_what_is_missing(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    records = [line(second, f"{second:04}\n") for second in range(1000)]
    logs = {"main": collect(records, head_bytes=1800, ring_bytes=900)}
    await files.save(KEY, logs, tail_of(KEY, list(logs.values())))

    found = await read(files)

    (where,) = [index for index, record in enumerate(found) if record.stream is Stream.GAP]
    assert found[:where] == records[:where] and where == 100
    assert found[where + 1 :] == records[-(len(found) - where - 1) :]
    lost = 1000 - (len(found) - 1)
    assert int(found[where].data) == lost * 5


async def test_a_log_is_read_in_small_pieces_before_its_end_has_been_looked_at(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    logs = {"main": collect([line(0, f"{hash(number):020}\n") for number in range(60_000)])}
    await files.save(KEY, logs, tail_of(KEY, list(logs.values())))
    (path,) = tmp_path.rglob("*.z")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"\xff" * 100 + content[middle + 100 :])

    pieces = []
    with pytest.raises(Unavailable, match="cannot be read"):
        async for piece in files.read(KEY):
            pieces.append(piece)  # noqa: PERF401 - what came before the failure counts

    assert len(pieces) > 5
    assert all(sum(map(size_of, piece)) < PIECE_BYTES + 100 for piece in pieces)


async def test_the_final_tail_waits_on_disk(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    logs = {"main": collect([line(second, "y" * 999 + "\n") for second in range(200)])}
    tail = tail_of(KEY, list(logs.values()))
    await files.save(KEY, logs, tail)

    again = LogFiles(tmp_path)
    assert again.pending_tails() == [KEY]
    loaded = await again.load_tail(KEY)
    assert loaded == tail
    assert len(tail.frames) <= TAIL_BYTES < len(tail.frames) + 1100
    assert len(list(decode(tail.frames))) * 1013 + tail.dropped_bytes == 200 * 1013
    await again.drop_tail(KEY)
    assert again.pending_tails() == [] and await again.load_tail(KEY) is None


async def test_prunes_what_is_old_and_what_is_too_much(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, most_bytes=600, retention_seconds=3600.0)
    for attempt in range(1, 8):
        key = AttemptKey(task_id="t1", attempt=attempt)
        logs = {"main": collect([line(0, os.urandom(100).hex())])}
        await files.save(key, logs, tail_of(key, list(logs.values())))
        await files.drop_tail(key)
        age = 7200 if attempt == 1 else 100 - attempt
        at = NOW.timestamp() - age
        os.utime(tmp_path / "t-t1" / str(attempt), (at, at))

    await files.prune(NOW)

    left = sorted(int(path.name) for path in (tmp_path / "t-t1").iterdir())
    assert left == list(range(8 - len(left), 8)) and 1 <= len(left) < 6
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.z")) <= 600


@given(cuts=st.lists(st.integers(0, 30), max_size=6), moments=st.lists(st.integers(0, 3), max_size=30))
async def test_a_cursor_neither_repeats_nor_leaves_out(cuts: list[int], moments: list[int]) -> None:
    """Records of one moment may be split between two readings."""
    seconds = sorted(moments)
    records = [line(second, f"{number}\n") for number, second in enumerate(seconds)]

    async def since(end: int, at: datetime | None) -> AsyncIterator[LogRecord]:
        for record in records[:end]:
            if at is None or record.at >= at:
                yield record

    cursor = Cursor()
    read = []
    for end in [*sorted(cuts), len(records)]:
        read += [record async for record in cursor.fresh(since(end, cursor.since))]
    assert read == records


async def test_a_cursor_says_when_what_it_read_last_is_gone() -> None:
    cursor = Cursor()
    first = [line(1, "a\n"), line(1, "b\n")]
    assert [record async for record in cursor.fresh(ready(*first))] == first
    split_otherwise = [line(1, "a\nb\n"), line(2, "c\n")]
    assert [record async for record in cursor.fresh(ready(*split_otherwise))] == [line(2, "c\n")]
    told = [gap(line(3, "").at, 7), line(3, "d\n")]
    assert [record async for record in cursor.fresh(ready(*told))] == told
    late = line(5, "f\n")
    assert [record async for record in cursor.fresh(ready(late))] == [gap(late.at), late]


async def ready(*records: LogRecord) -> AsyncIterator[LogRecord]:
    for record in records:
        yield record
