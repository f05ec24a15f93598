"""An attempt's output: from its worker while that can be reached, else from the store."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from podling.core.logrecord import LogRecord, Stream, encode, gap
from podling.core.protocol import Assignment
from podling.master.sessions import streams
from podling.wire.logs import CUT_OFF
from podling.wire.session import LOG_END, OpenStream
from tests.master.fake_worker import FakeWorker
from tests.master.masters import RunningMaster, eventually

AT = datetime(2026, 1, 1, tzinfo=UTC)
FLOOD_FRAMES = 500  # more than sockets hold


def line(text: str, stream: Stream = Stream.STDOUT, second: int = 0) -> LogRecord:
    return LogRecord(at=AT + timedelta(seconds=second), stream=stream, data=text.encode() + b"\n")


class Log:
    """What the fake worker sends for a stream: some frames at once, more on request, then the end."""

    def __init__(self, *records: LogRecord, follow: bool = False, raw: bytes | None = None) -> None:
        self.frames = encode(records) if raw is None else raw
        self.more: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.breaks = False
        if not follow:
            self.more.put_nowait(None)

    async def __call__(self, request: OpenStream, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_bytes(self.frames)
        while (frames := await self.more.get()) is not None:
            await socket.send_bytes(frames)
        if self.breaks:
            connection = socket._response.connection
            assert connection is not None and connection.transport is not None
            connection.transport.abort()
        else:
            await socket.send_str(LOG_END)


async def _running(master: RunningMaster, worker: FakeWorker) -> Assignment:
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    return work


async def _logs(master: RunningMaster, work: Assignment, **query: Any) -> str:
    answer = await master.api.get(f"/tasks/{work.task_id}/logs", **query)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    return answer.text


async def test_the_worker_is_asked_for_what_is_wanted(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = Log(line("out"), line("err", Stream.STDERR), gap(AT, 17))
    text = await _logs(master, work, tail=5, since="2026-01-01T01:00:00+01:00", stream="stderr", attempt=1)
    assert text == "out\nerr\n[podling: 17 bytes of log are missing here]\n"
    asked = worker.streams[0]
    assert (asked.task_id, asked.attempt, asked.tail, asked.since) == (work.task_id, 1, 5, AT)
    assert (asked.stream, asked.follow, asked.container) == (Stream.STDERR, False, None)
    worker.serve_log = Log()
    assert await _logs(master, work, stream="stdout") == ""
    assert worker.streams[1].stream == Stream.STDOUT and worker.streams[1].tail is None


async def test_many_lines_that_came_together_are_written_together(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = Log(*(line(str(number)) for number in range(2000)))
    async with master.api.stream(f"/tasks/{work.task_id}/logs") as response:
        chunks = [ends async for _, ends in response.content.iter_chunks()]
    assert chunks.count(True) <= 2


async def test_any_bytes_come_through_unchanged(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    ugly = b"\xff\xfe\0 \x1b[31m<script>\r" + b"x" * 60_000
    worker.serve_log = Log(LogRecord(at=AT, stream=Stream.STDOUT, data=ugly))
    async with master.api.stream(f"/tasks/{work.task_id}/logs") as response:
        assert await response.read() == ugly


async def test_follow_shows_what_comes_and_ends_with_the_log(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = log = Log(line("one"), follow=True)
    async with master.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
        assert await response.content.readline() == b"one\n"
        await log.more.put(encode([line("two")]))
        assert await response.content.readline() == b"two\n"
        await log.more.put(None)
        assert await response.content.read() == b""
    assert worker.streams[0].follow is True


async def test_follow_waits_for_the_start(master: RunningMaster) -> None:
    task = await master.api.submit()
    async with master.api.stream(f"/tasks/{task['taskId']}/logs", follow="true") as response:
        assert response.status == 200
        worker = master.new_worker()
        worker.serve_log = Log(line("at last"))
        await worker.connect()
        assert await response.content.read() == b"at last\n"


async def test_follow_of_a_task_that_never_starts_ends_with_it(master: RunningMaster) -> None:
    task = await master.api.submit()
    async with master.api.stream(f"/tasks/{task['taskId']}/logs", follow="true") as response:
        await master.api.post(f"/tasks/{task['taskId']}/cancel")
        assert await response.content.read() == b""


async def test_without_follow_a_task_that_has_not_started_has_no_log(master: RunningMaster) -> None:
    task = await master.api.submit()
    answer = await master.api.get(f"/tasks/{task['taskId']}/logs")
    assert (answer.status, answer.text) == (200, "")


async def test_a_break_in_the_middle_leaves_a_note(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = log = Log(line("one"), follow=True)
    log.breaks = True
    async with master.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
        assert await response.content.readline() == b"one\n"
        await log.more.put(None)
        note = await response.content.read()
    assert note.startswith(b"[podling: ") and b"missing" in note


async def test_a_break_before_the_first_line_is_told_at_once(master: RunningMaster) -> None:
    async def give_up(request: OpenStream, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.close(code=aiohttp.WSCloseCode.INTERNAL_ERROR)

    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = give_up
    async with asyncio.timeout(5.0):
        answer = await master.api.get(f"/tasks/{work.task_id}/logs")
    assert answer.text.startswith("[podling: ") and "missing" in answer.text


async def test_what_is_no_log_leaves_a_note_too(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = log = Log(line("one"), follow=True)
    async with master.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
        assert await response.content.readline() == b"one\n"
        await log.more.put(b"\x09" + b"\xff" * 8 + b"\0\0\0\x01x")
        note = await response.content.read()
    assert note.startswith(b"[podling: ") and b"missing" in note


class Flood(Log):
    """Sends much, and answers pings as a worker does."""

    async def __call__(self, request: OpenStream, socket: aiohttp.ClientWebSocketResponse) -> None:
        listening = asyncio.create_task(socket.receive())
        for _ in range(FLOOD_FRAMES):
            await socket.send_bytes(self.frames)
        await super().__call__(request, socket)
        await listening


async def test_a_follower_that_is_slower_than_pings_gets_all(
    master: RunningMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.logs.PING_SECONDS", 0.1)
    monkeypatch.setattr("podling.master.api.logs.SILENT_SECONDS", 0.4)
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = Flood(line("x" * 60_000))
    awake = asyncio.Event()
    async with master.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
        asyncio.get_running_loop().call_later(1.0, awake.set)
        await awake.wait()
        text = await response.read()
    assert len(text) == (FLOOD_FRAMES + 1) * 60_001


async def test_a_worker_that_has_vanished_in_silence_leaves_a_note(
    master: RunningMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.logs.PING_SECONDS", 0.1)
    monkeypatch.setattr("podling.master.api.logs.SILENT_SECONDS", 0.4)
    worker = await master.worker()
    work = await _running(master, worker)
    worker.serve_log = Log(line("one"), follow=True)  # it answers no ping
    async with master.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
        assert await response.read() == b"one\n" + CUT_OFF


def _tail(work: Assignment, records: Sequence[LogRecord], **fields: Any) -> dict[str, Any]:
    frames = base64.b64encode(encode(records)).decode()
    return {"taskId": work.task_id, "attempt": work.attempt, "frames": frames} | fields


async def test_the_tail_in_the_store_is_read_when_the_node_is_gone(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    records = [line("one"), line("two", Stream.STDERR, 1), line("three", second=2)]
    saved = await master.api.post(
        "/nodes/node-1/tails", {"tails": [_tail(work, records, final=True, droppedBytes=9)]}
    )
    assert saved.status == 200
    await worker.end(work)
    await worker.vanish()

    async def gone() -> bool:
        return master.server.sessions.get("node-1") is None

    await eventually(gone, "the session to end")
    lost = "[podling: 9 bytes of log are missing here]\n"
    assert await _logs(master, work) == f"{lost}one\ntwo\nthree\n"
    assert await _logs(master, work, tail=1) == "three\n"
    assert await _logs(master, work, stream="stderr") == f"{lost}two\n"
    assert await _logs(master, work, since="2026-01-01T00:00:02Z") == "three\n"
    assert await _logs(master, work, follow="true") == f"{lost}one\ntwo\nthree\n"


async def test_a_log_that_its_dead_worker_may_know_more_of_says_so(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    assert (await worker.vanish()) is None

    async def gone() -> bool:
        return master.server.sessions.get("node-1") is None

    await eventually(gone, "the session to end")
    assert await _logs(master, work) == CUT_OFF.decode()
    await master.api.post("/nodes/node-1/tails", {"tails": [_tail(work, [line("one")])]})
    assert await _logs(master, work) == "one\n" + CUT_OFF.decode()
    await master.api.post("/nodes/node-1/tails", {"tails": [_tail(work, [line("one")], final=True)]})
    assert await _logs(master, work) == "one\n"


async def test_an_ended_attempt_whose_end_was_not_brought_says_so(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    await master.api.post("/nodes/node-1/tails", {"tails": [_tail(work, [line("one")])]})
    await worker.end(work)
    assert await _logs(master, work) == "one\n" + CUT_OFF.decode()


async def test_the_end_of_a_log_that_is_still_on_its_way_is_waited_for(master: RunningMaster) -> None:
    """A worker that cannot be asked just after the end has brought nothing yet: that is no empty log."""
    worker = await master.worker()
    work = await _running(master, worker)
    await worker.end(work)
    reading = asyncio.create_task(_logs(master, work))

    async def is_refused() -> bool:
        return bool(worker.streams)

    await eventually(is_refused, "the worker to be asked")
    await master.api.post("/nodes/node-1/tails", {"tails": [_tail(work, [line("all")], final=True)]})
    assert await reading == "all\n"


async def test_the_tail_is_read_when_the_worker_has_no_log_any_more(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    await master.api.post("/nodes/node-1/tails", {"tails": [_tail(work, [line("kept")])]})
    assert await _logs(master, work) == "kept\n" + CUT_OFF.decode()


async def test_only_the_attempts_own_node_saves_its_tail(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    await master.worker("node-2")
    await master.api.post("/nodes/node-2/tails", {"tails": [_tail(work, [line("forged")])]})
    await master.api.post("/nodes/node-1/tails", {"tails": [_tail(work, [line("old")], attempt=7)]})
    assert await _logs(master, work) == CUT_OFF.decode()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "tails",
    [
        None,
        {},
        ["x"],
        [{}],
        [{"taskId": "x", "attempt": 1, "frames": "no base64!"}],
        [{"taskId": "x", "attempt": 1, "frames": base64.b64encode(b"\x09" * 14).decode()}],
        [{"taskId": "x", "attempt": 1, "frames": base64.b64encode(b"torn").decode()}],
        [{"taskId": "x", "attempt": 2**63, "frames": ""}],
        [{"taskId": "x", "attempt": 0, "frames": ""}],
        [{"taskId": "x", "attempt": 1, "frames": "", "droppedBytes": -1}],
        [
            {
                "taskId": "x",
                "attempt": 1,
                "frames": base64.b64encode(encode([line("x" * 65_000)] * 2)).decode(),
            }
        ],
    ],
)
async def test_a_bad_tail_is_refused(shared_master: RunningMaster, tails: Any) -> None:
    answer = await shared_master.api.post("/nodes/node-1/tails", {"tails": tails})
    assert (answer.status, answer.field) == (400, "tails")


async def test_an_attempt_that_never_was_is_not_found(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    for query in ({"attempt": 2}, {"attempt": 2**31}):
        answer = await master.api.get(f"/tasks/{work.task_id}/logs", **query)
        assert (answer.status, answer.json["error"]) == (404, "attempt not found")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "query, field",
    [
        ({"tail": "-1"}, "tail"),
        ({"tail": "ten"}, "tail"),
        ({"tail": "1e9"}, "tail"),
        ({"tail": "9" * 30}, "tail"),
        ({"attempt": "0"}, "attempt"),
        ({"stream": "stdin"}, "stream"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"since": "9999-12-31T23:59:59-14:00"}, "since"),
        ({"follow": "perhaps"}, "follow"),
        ({"lines": "5"}, "lines"),
    ],
)
async def test_a_bad_query_is_refused(
    shared_master: RunningMaster, query: dict[str, str], field: str
) -> None:
    task = await shared_master.api.submit()
    answer = await shared_master.api.get(f"/tasks/{task['taskId']}/logs", **query)
    assert (answer.status, answer.field) == (400, field)


async def test_a_stream_that_nobody_asked_for_is_not_accepted(master: RunningMaster) -> None:
    answer = await master.api.get("/streams/guessed")
    assert (answer.status, answer.json["error"]) == (404, "stream not found")


async def test_readers_that_leave_leave_nothing_behind(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _running(master, worker)
    waiting = await master.api.submit(runAt="2100-01-01T00:00:00Z")
    before = len(asyncio.all_tasks())
    for _ in range(20):
        worker.serve_log = log = Log(line("one"), follow=True)
        async with master.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
            await response.content.readline()
        await log.more.put(None)
        async with master.api.stream(f"/tasks/{waiting['taskId']}/logs", follow="true") as response:
            assert response.status == 200

    async def back() -> bool:
        return len(asyncio.all_tasks()) <= before

    await eventually(back, "the readers' tasks to end")
    assert isinstance(master.server.streams, streams.Streams)
    with master.server.context.feed.watch(waiting["taskId"]):
        assert len(master.server.context.feed._watchers) == 1


async def test_a_master_that_stops_lets_readers_go(master: RunningMaster) -> None:
    task = await master.api.submit()
    async with master.api.stream(f"/tasks/{task['taskId']}/logs", follow="true"):
        async with asyncio.timeout(5):
            await master.server.stop()
