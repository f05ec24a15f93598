"""What programs do with the library, by either client, against the same small master."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import podling
from podling.client import AsyncClient
from podling.core.errors import DeadlineExceeded, NotFound, PodlingError, Unavailable
from podling.wire.logs import CUT_OFF
from tests.cli.fake_master import FakeMaster
from tests.client.threaded import Blocking

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def master() -> Iterator[FakeMaster]:
    with FakeMaster().running() as fake:
        yield fake


@pytest.fixture(params=[Blocking, AsyncClient], ids=["blocking", "asynchronous"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def _completes(task: dict[str, Any]) -> None:
    task.update(status="completed", exitCode=0, attempt=1)


def test_the_package_names_both_clients() -> None:
    assert podling.AsyncClient is AsyncClient
    assert podling.Client.__name__ == "Client"
    with pytest.raises(AttributeError, match="Nobody"):
        _ = podling.Nobody


def test_what_is_made_of_other_files_follows_them() -> None:
    command = [sys.executable, ROOT / "bin/generate-client", "--check"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr


async def test_run_and_wait(make: Any, master: FakeMaster) -> None:
    master.on_submit = _completes
    async with make(master.url) as client:
        task = await client.run("hello", image="box", args=["echo", "hi"], maxAttempts=3)
        assert (await task.wait(timeout_seconds=20))["exitCode"] == 0
        assert task.status == "completed"
    sent = master.requests[0]["body"]
    assert sent == {"name": "hello", "image": "box", "args": ["echo", "hi"], "maxAttempts": 3}


async def test_many_are_submitted_at_once_and_refused_one_by_one(make: Any, master: FakeMaster) -> None:
    master.on_submit = _completes
    async with make(master.url) as client:
        one, refused, two = await client.submit_many(
            [{"name": "one", "image": "box"}, {"name": "bad"}, {"name": "two", "image": "box"}]
        )
        assert isinstance(refused, PodlingError)
        assert (refused.code, refused.message) == ("invalid_field", "image: is required")
        assert [(await task.wait(20))["name"] for task in (one, two)] == ["one", "two"]


async def test_a_wait_has_an_end(make: Any, master: FakeMaster) -> None:
    async with make(master.url) as client:
        task = await client.run("slow", image="box")
        with pytest.raises(DeadlineExceeded):
            await task.wait(timeout_seconds=0.05)


async def test_the_same_key_gives_the_same_task_and_a_lost_reply_one(make: Any, master: FakeMaster) -> None:
    master.faults = ["drop"]
    async with make(master.url) as client:
        first = await client.run("hello", image="box", key="order-7")
        second = await client.run("hello", image="box", key="order-7")
    assert first.id == second.id
    assert list(master.tasks) == [first.id]


async def test_a_handle_reads_and_changes_its_task(make: Any, master: FakeMaster) -> None:
    task_id = master.add_task("hello", "running")["taskId"]
    master.outputs[task_id, 1] = b"one\ntwo\n"
    master.tasks[task_id]["status"] = "completed"
    async with make(master.url) as client:
        task = await client.task("hello")
        assert task.id == task_id
        assert await task.output() == "one\ntwo\n"
        assert (await task.explain())["summary"] == "it is completed"
        assert [attempt["attempt"] async for attempt in task.attempts()] == [1]
        assert [line async for line in task.timeline()] == []
        again = await task.replay(queue="low")
        assert again.id != task_id
        master.tasks[task_id]["status"] = "running"
        assert (await task.cancel())["status"] == task.status == "cancelled"
        with pytest.raises(NotFound):
            await client.task("nothing")


async def test_lists_are_read_page_by_page_as_they_are_used(make: Any, master: FakeMaster) -> None:
    ids = [master.add_task(f"task-{number}")["taskId"] for number in range(5)]
    async with make(master.url) as client:
        found = client.tasks(page=2)
        assert (await anext(found))["taskId"] == ids[-1]
        assert len(master.requests) == 1
        assert [task["taskId"] async for task in found] == ids[-2::-1]
        assert len(master.requests) == 3


async def test_a_list_has_at_most_as_many_items_as_are_wanted(make: Any, master: FakeMaster) -> None:
    for number in range(5):
        master.add_task(f"task-{number}")
    async with make(master.url) as client:
        assert [task["name"] async for task in client.tasks(limit=3, page=2)] == [
            "task-4",
            "task-3",
            "task-2",
        ]
        assert [request["query"]["limit"] for request in master.requests] == ["2", "1"]
        assert len([task async for task in client.tasks(limit=9)]) == 5
        assert [task async for task in client.tasks(limit=0)] == []


async def test_attempts_and_timeline_are_read_page_by_page(make: Any, master: FakeMaster) -> None:
    task_id = master.add_task("hello", "running", attempt=1201)["taskId"]
    master.timelines[task_id] = [{"type": f"line-{number}"} for number in range(1201)]
    async with make(master.url) as client:
        task = await client.task(task_id)
        assert [attempt["attempt"] async for attempt in task.attempts()] == list(range(1, 1202))
        assert len(master.requests) == 1 + 3
        assert [line["type"] async for line in task.timeline()][-1] == "line-1200"
        assert [line["type"] async for line in task.timeline(limit=2)] == ["line-0", "line-1"]
        lines = task.timeline(page=2)
        assert (await anext(lines))["type"] == "line-0"
        assert len(master.requests) == 1 + 3 + 3 + 1 + 1


async def test_lines_are_followed_over_lost_connections_each_once(make: Any, master: FakeMaster) -> None:
    task = master.add_task("hello", "running")
    master.outputs[task["taskId"], 1] = b"one\ntw"
    master.streams_to_cut = 1
    async with make(master.url) as client:
        lines = (await client.task("hello")).follow()
        assert await anext(lines) == "one"
        master.write(task, b"o\nthree")
        assert await anext(lines) == "two"
        master.change(task, status="completed")
        assert [line async for line in lines] == ["three"]


async def test_a_line_that_says_that_something_is_missing_is_not_the_tasks(
    make: Any, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.client.program.MASTER_AWAY_SECONDS", 0.0)
    task = master.add_task("hello", "completed")
    master.outputs[task["taskId"], 1] = b"one\n" + CUT_OFF
    async with make(master.url) as client:
        lines = (await client.task("hello")).follow()
        assert await anext(lines) == "one"
        with pytest.raises(Unavailable) as caught:
            await anext(lines)
        assert caught.value.code == "stream_lost"
