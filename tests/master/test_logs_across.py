"""A log read at one master while its worker is connected to another: they meet in the store alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from podling.core.logrecord import encode
from podling.core.protocol import OLDEST_PROTOCOL_VERSION, Assignment
from podling.store.base import PeerMessage
from podling.wire.logs import CUT_OFF
from tests.master.fake_worker import FakeWorker
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.test_logs import Log, line
from tests.support import IN_SOAK

READERS = 1000 if IN_SOAK else 20


@dataclass(frozen=True)
class Apart:
    """`reader` is the master that is asked, `holder` the one that has the worker's session."""

    reader: RunningMaster
    holder: RunningMaster

    async def running(self, **hello: int) -> tuple[FakeWorker, Assignment]:
        """Return a worker at the holder, with a task that runs there, as the reader knows."""
        worker = await self.holder.worker(**hello)
        task = await self.holder.api.submit()
        work = await worker.assigned(task["taskId"])
        await worker.start(work)
        await self.reader.until_status(work.task_id, "running")
        await eventually(self._knows, "the reader's master to know where the worker is")
        return worker, work

    async def _knows(self) -> bool:
        context = self.reader.server.context
        node = context.view.node("node-1")
        return node is not None and node.master_id in context.masters

    async def logs(self, work: Assignment, **query: str) -> str:
        answer = await self.reader.api.get(f"/tasks/{work.task_id}/logs", **query)
        assert answer.status == 200, answer.text
        return answer.text


@pytest.fixture
async def apart(masters: Masters) -> AsyncIterator[Apart]:
    reader = await masters.start("one", dialable=True)
    yield Apart(reader, await masters.start("two", dialable=True))


async def test_the_live_stream_goes_to_the_master_that_is_asked(apart: Apart) -> None:
    worker, work = await apart.running()
    worker.serve_log = log = Log(line("one"), follow=True)
    async with apart.reader.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
        assert await response.content.readline() == b"one\n"
        await log.more.put(encode([line("two")]))
        assert await response.content.readline() == b"two\n"
        await log.more.put(None)
        assert await response.content.read() == b""
    assert worker.streams[0].url == apart.reader.url
    worker.serve_log = Log(line("whole"))
    assert await apart.logs(work, tail="3") == "whole\n"
    worker.serve_log = Log(line("whole"))
    assert await _own_logs(apart, work) == "whole\n"
    assert worker.streams[2].url is None


async def _own_logs(apart: Apart, work: Assignment) -> str:
    return (await apart.holder.api.get(f"/tasks/{work.task_id}/logs")).text


async def test_a_worker_that_has_no_log_says_so_across_masters(apart: Apart) -> None:
    """Long before the reader's patience ends, the tail in the store is shown."""
    worker, work = await apart.running()
    async with asyncio.timeout(4):
        assert await apart.logs(work) == CUT_OFF.decode()
    assert len(worker.streams) == 1


async def test_a_node_that_has_left_the_holder_is_told(apart: Apart) -> None:
    worker, work = await apart.running()
    await worker.close()
    await eventually(lambda: _has_no_session(apart.holder), "the session to end")
    async with asyncio.timeout(4):
        assert await apart.logs(work) == CUT_OFF.decode()


async def _has_no_session(master: RunningMaster) -> bool:
    return master.server.sessions.get("node-1") is None


async def test_an_older_worker_is_not_sent_to_another_master(apart: Apart) -> None:
    worker, work = await apart.running(protocol_version=OLDEST_PROTOCOL_VERSION)
    worker.serve_log = Log(line("here"))
    async with asyncio.timeout(4):
        assert await apart.logs(work) == CUT_OFF.decode()
    assert worker.streams == []
    assert await _own_logs(apart, work) == "here\n"


async def test_readers_that_leave_leave_nothing_behind_at_either_master(apart: Apart) -> None:
    worker, work = await apart.running()
    before = len(asyncio.all_tasks())
    for _ in range(READERS):
        worker.serve_log = log = Log(line("one"), follow=True)
        async with apart.reader.api.stream(f"/tasks/{work.task_id}/logs", follow="true") as response:
            await response.content.readline()
        await log.more.put(None)

    async def back() -> bool:
        return len(asyncio.all_tasks()) <= before

    await eventually(back, "the readers' tasks to end")
    store = apart.reader.server.context.store
    for master in (apart.reader, apart.holder):
        assert list(await store.take_messages(master.server.context.options.master_id)) == []


async def test_a_message_of_a_newer_master_is_left_aside(apart: Apart) -> None:
    worker, work = await apart.running()
    worker.serve_log = Log(line("still"))
    for master in (apart.reader, apart.holder):
        recipient = master.server.context.options.master_id
        await apart.reader.server.context.store.post([PeerMessage(recipient=recipient, body="later\n{}")])
    assert await apart.logs(work) == "still\n"


async def test_workers_are_told_when_a_master_comes_and_goes(masters: Masters) -> None:
    first = await masters.start("one", lease_seconds=1.0)
    worker = await first.worker("new")
    older = await first.worker("old", protocol_version=OLDEST_PROTOCOL_VERSION)
    assert worker.welcome is not None and worker.welcome.masters == ("http://one.test",)
    second = await masters.start("two", lease_seconds=1.0)
    await worker.until(lambda: worker.masters == ("http://one.test", "http://two.test"), "the second master")
    await second.stop()
    await worker.until(lambda: worker.masters == ("http://one.test",), "the second master to be gone")
    assert older.masters == ()
