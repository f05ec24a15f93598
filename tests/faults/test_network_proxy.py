"""A line that is slow, breaks in the middle of a message, or says things twice and in disorder.

A proxy lies between the worker and the master, and one between the client and the master.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from podling.client import Client, tasks
from podling.core.errors import Conflict, PodlingError
from podling.worker.due_reports import SEND_AGAIN_SECONDS
from tests.e2e.programs import Programs, programs, until
from tests.faults.proxy import Cut, Message, Proxy, proxy
from tests.relay import Way

LEASE_SECONDS = 4.0
NODE = "worker-1"

pytestmark = pytest.mark.xdist_group("faults-network")


class Line:
    """A master with a worker that only simulates, and the proxy between the two."""

    def __init__(self, running: Programs, between: Proxy) -> None:
        self.running = running
        self.between = between
        self._names = count()

    def submit(self, seconds: float, **more: Any) -> str:
        spec = {
            "name": f"simulated-{next(self._names)}",
            "runtime": "simulated",
            "env": {"PODLING_SIMULATE_SECONDS": f"{seconds:g}"},
            **more,
        }
        return str(self.running.client.submit(spec)["taskId"])

    def check_once(self, task_id: str) -> dict[str, Any]:
        """The task completes, and in its first attempt."""
        task = self.running.until_status(task_id, "completed", "failed", "cancelled")
        assert (task["status"], task["attempt"]) == ("completed", 1), self.running.attempts(task_id)
        return task

    def until_connected_again(self, before: int) -> None:
        until("the worker has dialled anew", lambda: self.between.connections > before)
        until("it is online", lambda: self.running.online() == 1)


@pytest.fixture(scope="module")
def started() -> Iterator[Line]:
    with ExitStack() as stack:
        running = stack.enter_context(programs("memory", LEASE_SECONDS))
        between = stack.enter_context(proxy(running.port))
        stack.callback(running.stop)
        running.master_url = between.url
        running.start_master("--allow-simulated", "--advertise-url", between.url)
        running.start_worker(NODE, "--runtime", "simulated")
        line = Line(running, between)
        line.check_once(line.submit(0.0))  # so that it has settled down
        yield line


@pytest.fixture
def line(started: Line) -> Iterator[Line]:
    yield started
    started.between.heal()
    started.running.wait_for_workers(1)


def is_report(message: Message) -> bool:
    return message.text.startswith(b"reports\n")


def is_answer_to_report(message: Message) -> bool:
    return message.text.startswith(b"reportsAcknowledged\n")


def test_latency_costs_time_and_nothing_else(line: Line) -> None:
    line.between.delay_seconds = 0.15
    for task_id in [line.submit(0.1) for _ in range(20)]:
        line.check_once(task_id)
    assert "is lost" not in line.running.log("master")


@pytest.mark.parametrize("way", list(Way))
def test_a_half_closed_line_is_left_for_a_new_one(line: Line, way: Way) -> None:
    task_id = line.submit(3.0)
    line.running.until_status(task_id, "running")
    before = line.between.connections
    line.between.half_close(way)
    line.until_connected_again(before)
    line.check_once(task_id)


def test_a_reset_line_is_left_for_a_new_one(line: Line) -> None:
    task_id = line.submit(2.0)
    line.running.until_status(task_id, "running")
    before = line.between.connections
    line.between.reset()
    line.until_connected_again(before)
    line.check_once(task_id)


@pytest.mark.parametrize("way", list(Way))
def test_a_message_cut_in_its_middle_does_no_harm(line: Line, way: Way) -> None:
    is_wanted = is_report if way is Way.UP else is_answer_to_report
    cuts = iter(range(2))

    def cut(message: Message) -> Sequence[bytes]:
        if is_wanted(message) and next(cuts, None) is not None:
            raise Cut(message.raw[: len(message.raw) // 2])
        return (message.raw,)

    line.between.rules[way] = cut
    line.check_once(line.submit(0.3))
    assert next(cuts, None) is None


def test_a_report_that_got_lost_is_told_at_once_on_the_next_line(line: Line) -> None:
    hold = line.between.hold(Way.UP, rb"^reports\n")
    task_id = line.submit(0.0)
    hold.wait()
    begin = time.monotonic()
    hold.drop()
    line.check_once(task_id)
    assert time.monotonic() - begin < SEND_AGAIN_SECONDS


def test_a_report_whose_answer_is_lost_is_told_again_and_counts_once(line: Line) -> None:
    lost = threading.Event()

    def lose(message: Message) -> Sequence[bytes]:
        if is_answer_to_report(message) and not lost.is_set():
            lost.set()
            raise Cut
        return (message.raw,)

    line.between.rules[Way.DOWN] = lose
    task_id = line.submit(0.0)
    assert lost.wait(20)
    line.check_once(task_id)
    assert len(line.running.attempts(task_id)) == 1


def test_reports_that_come_twice_count_once(line: Line) -> None:
    line.between.rules[Way.UP] = lambda message: (message.raw,) * (2 if is_report(message) else 1)
    for task_id in [line.submit(0.3) for _ in range(10)]:
        line.check_once(task_id)
        (attempt,) = line.running.attempts(task_id)
        assert attempt["exitCode"] == 0


def test_a_start_told_after_the_end_changes_nothing(line: Line) -> None:
    late: list[bytes] = []

    def swap(message: Message) -> Sequence[bytes]:
        if not is_report(message):
            return (message.raw,)
        if not late:
            late.append(message.raw)
            return ()
        return message.raw, late[0]

    line.between.rules[Way.UP] = swap
    task_id = line.submit(0.5)
    ended = line.check_once(task_id)
    assert late
    line.between.heal()
    line.check_once(line.submit(0.0))  # its reports come after the late one
    assert line.running.task(task_id) == ended


def test_a_submit_whose_reply_is_lost_gives_the_same_task_again(line: Line) -> None:
    spec = {"name": "asked-twice", "runtime": "simulated"}
    with proxy(line.running.port) as between:
        replies: list[bytes] = []

        def lose(message: Message) -> Sequence[bytes]:
            replies.append(message.raw)
            raise Cut

        between.rules[Way.DOWN] = lose
        client = Client(between.url, timeout_seconds=5)
        with pytest.raises(PodlingError):
            client.send(tasks.submit(spec, "key-1"))
        assert replies
        assert all(b" 201 " in reply for reply in replies[:1])
        between.heal()
        task_id = str(client.submit(spec, "key-1")["taskId"])
        with pytest.raises(Conflict):
            client.submit(spec | {"name": "another"}, "key-1")
    named = line.running.client.send(tasks.listing(name="asked-twice")).items
    assert [task["taskId"] for task in named] == [task_id]
    line.check_once(task_id)
