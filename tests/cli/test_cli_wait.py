"""`podling run --wait`: output, retries, broken streams and interrupts."""

import json
import signal
import subprocess
import threading
from typing import Any

import pytest

from podling.cli.invocation import Invocation
from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        ({"status": "completed", "exitCode": 0}, 0, ""),
        ({"status": "failed", "exitCode": 3, "error": "it exited with 3"}, 3, "failed: it exited with 3"),
        ({"status": "failed", "exitCode": None, "error": "no such image"}, 1, "failed: no such image"),
        ({"status": "cancelled"}, 130, "was cancelled"),
    ],
)
def test_wait_ends_with_the_tasks_own_exit_code(
    cli: Cli, master: FakeMaster, end: dict[str, Any], code: int, told: str
) -> None:
    master.on_submit = lambda task: task.update(end, attempt=1)
    shown = cli("run", "hello", "box", "--wait")
    assert shown.code == code
    assert told in shown.err


def test_wait_shows_the_output_of_every_attempt(cli: Cli, master: FakeMaster) -> None:
    def submit(task: dict[str, Any]) -> None:
        task.update(status="completed", attempt=2, exitCode=0)
        master.outputs[task["taskId"], 1] = b"one\n"
        master.outputs[task["taskId"], 2] = b"two\n"

    master.on_submit = submit
    assert cli("run", "hello", "box", "--wait").out == "one\ntwo\n"


def test_wait_with_json_prints_the_ended_task(cli: Cli, master: FakeMaster) -> None:
    master.on_submit = lambda task: task.update(status="failed", exitCode=7)
    shown = cli("run", "hello", "box", "--wait", "--json")
    assert shown.code == 7
    assert json.loads(shown.out)["exitCode"] == 7


def started(master: FakeMaster, cli: Cli, *flags: str) -> "tuple[subprocess.Popen[str], dict[str, Any]]":
    """Start `run --wait` and return it with its task, once its first output is shown."""

    def submit(task: dict[str, Any]) -> None:
        task.update(status="running", attempt=1)
        master.outputs[task["taskId"], 1] = b"ready\n"

    master.on_submit = submit
    program = cli.start("run", "hello", "box", "--wait", *flags)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    [task] = master.tasks.values()
    return program, task


def test_wait_streams_while_it_runs(cli: Cli, master: FakeMaster) -> None:
    program, task = started(master, cli)
    assert program.stdout is not None
    master.write(task, b"more\n")
    assert program.stdout.readline() == "more\n"
    master.change(task, status="failed", exitCode=9)
    program.communicate(timeout=20)
    assert program.returncode == 9


def test_wait_goes_on_through_a_retry(cli: Cli, master: FakeMaster) -> None:
    program, task = started(master, cli)
    assert program.stdout is not None
    master.change(task, status="pending")
    master.change(task, status="running", attempt=2)
    master.write(task, b"second attempt\n")
    assert program.stdout.readline() == "second attempt\n"
    master.change(task, status="completed", exitCode=0)
    assert program.communicate(timeout=20) == ("", "attempt 2 begins\n")
    assert program.returncode == 0


def test_wait_takes_up_a_broken_stream_where_it_was(cli: Cli, master: FakeMaster) -> None:
    master.streams_to_cut = 2
    program, task = started(master, cli)
    assert program.stdout is not None
    master.write(task, b"more\n")
    assert program.stdout.readline() == "more\n"
    master.change(task, status="completed", exitCode=0)
    assert program.communicate(timeout=20) == ("", "")
    assert program.returncode == 0


def test_wait_says_why_a_task_waits(cli: Cli, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podling.cli.follow.EXPLAIN_AFTER_SECONDS", 0)
    asked = threading.Event()
    monkeypatch.setattr(Invocation, "note", lambda self, text: (asked.set(), told.append(text)))
    told: list[str] = []
    ended: list[int] = []
    command = threading.Thread(target=lambda: ended.append(cli("run", "hello", "box", "--wait").code))
    command.start()
    assert asked.wait(20)
    [task] = master.tasks.values()
    master.change(task, status="completed", attempt=1)
    command.join(20)
    assert ended == [0]
    assert told == ["waiting: it is pending"]


def test_interrupt_cancels_and_says_so(cli: Cli, master: FakeMaster) -> None:
    program, task = started(master, cli)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=20)
    assert task["status"] == "cancelled"
    assert program.returncode == 130
    assert f"cancelling task {task['taskId']}" in err
    assert f"task {task['taskId']} was cancelled" in err
    assert "Traceback" not in err


def test_interrupt_after_the_end_keeps_the_tasks_exit_code(cli: Cli, master: FakeMaster) -> None:
    program, task = started(master, cli)
    task.update(status="failed", exitCode=4)  # nobody who follows is woken
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=20)
    assert program.returncode == 4


def test_second_interrupt_leaves_the_task_to_the_master(cli: Cli, master: FakeMaster) -> None:
    master.on_cancel = lambda task: None
    program, task = started(master, cli)
    program.send_signal(signal.SIGINT)
    assert program.stderr is not None
    assert "cancelling" in program.stderr.readline()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 130
    assert f"podling wait {task['taskId']}" in err
