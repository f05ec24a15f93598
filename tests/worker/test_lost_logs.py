"""What an engine has thrown away of a log is said to be missing; what it has is read piece by piece."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord, Stream, size_of
from podling.core.retry import ErrorCode
from podling.wire.session import Assign, OpenStream
from podling.worker.log_files import PIECE_BYTES
from podling.worker.log_records import in_order, in_pieces
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster


async def test_a_beginning_that_the_engine_dropped_is_a_gap(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment("flood"), assignment("calm"))))
        for task_id in ("flood", "calm"):
            await master.running(task_id)
            runtime.write(f"podling-cluster-1-{task_id}-1", "at first\n")
        await master.until("both were looked at", lambda: len({tail["taskId"] for tail in master.tails}) == 2)
        runtime.output["podling-cluster-1-flood-1"].clear()
        for task_id in ("flood", "calm"):
            runtime.write(f"podling-cluster-1-{task_id}-1", "at last\n")
            runtime.end(f"podling-cluster-1-{task_id}-1", 0)
        await master.until("the ends are there", lambda: sum(tail["final"] for tail in master.tails) == 2)
    assert master.tail_text("flood") == b"[podling: a part of the log is missing here]\nat last\n"
    assert master.tail_text("calm") == b"at first\nat last\n"


def line(number: int, text: str = "x\n") -> LogRecord:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=number)
    return LogRecord(at=at, stream=Stream.STDOUT, data=text.encode())


async def ready(*records: LogRecord) -> AsyncIterator[LogRecord]:
    """What never has to be waited for."""
    for record in records:
        yield record


async def test_others_have_a_turn_while_much_is_there_to_read() -> None:
    records = [line(number, "x" * 1000) for number in range(500)]
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    pieces = [piece async for piece in in_pieces(ready(*records))]
    other.cancel()
    assert [record for piece in pieces for record in piece] == records
    assert all(sum(map(size_of, piece)) < PIECE_BYTES + 1100 for piece in pieces)
    assert turns >= len(pieces) - 1 > 5


async def test_what_came_before_a_failure_is_not_lost() -> None:
    async def failing() -> AsyncIterator[LogRecord]:
        yield line(1)
        raise RuntimeFailure("the container has gone", code=ErrorCode.EXTERNAL)

    pieces = []
    with pytest.raises(RuntimeFailure):
        async for piece in in_pieces(failing()):
            pieces.append(piece)  # noqa: PERF401 - what came before the failure counts
    assert pieces == [[line(1)]]


async def test_several_containers_are_read_in_the_order_of_time() -> None:
    sources = [ready(line(1, "a"), line(4, "d")), ready(), ready(line(2, "b"), line(3, "c"), line(4, "e"))]
    assert [record.data async for record in in_order(sources)] == [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize("follow", [False, True])
async def test_a_slow_reader_of_much_gets_all_of_it(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    monkeypatch.setattr("podling.worker.streams.SILENT_SECONDS", 0.2)
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment("much"),)))
        await master.running("much")
        records = [line(number, "x" * 60_000) for number in range(250)]
        runtime.output["podling-cluster-1-much-1"] = records
        master.reads_streams.clear()
        asyncio.get_running_loop().call_later(0.8, master.reads_streams.set)
        await master.send(_open("much", follow))
        runtime.end("podling-cluster-1-much-1", 0)
        await master.until("it is all there", lambda: "s1" in master.ended_streams)
    assert len(master.stream_text("s1")) == 250 * 60_000


def _open(task_id: str, follow: bool) -> OpenStream:
    return OpenStream(stream_id="s1", path="/streams/s1", task_id=task_id, attempt=1, follow=follow)


async def test_a_quiet_log_is_followed_while_its_master_shows_itself(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.worker.streams.SILENT_SECONDS", 0.4)
    master.stream_heartbeat = 0.1
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment("quiet"),)))
        await master.running("quiet")
        await master.send(_open("quiet", follow=True))
        write = asyncio.get_running_loop().call_later
        write(1.0, runtime.write, "podling-cluster-1-quiet-1", "at last")
        await master.until("what is said late is there", lambda: master.stream_text("s1") == b"at last")
        assert not master.closed_streams


async def test_a_master_that_shows_nothing_of_itself_is_given_up(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.worker.streams.SILENT_SECONDS", 0.2)
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment("quiet"),)))
        await master.running("quiet")
        await master.send(_open("quiet", follow=True))
        await master.until("the worker has hung up", lambda: "s1" in master.closed_streams)
    assert "s1" not in master.ended_streams
