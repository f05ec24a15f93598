"""Functions on real workers: placed by handler, bounded, timed out, cancelled, crashed, killed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from podling.client import nodes, tasks
from podling.core.agent_restore import LEFT_SENTENCE
from tests.e2e.programs import ROOT, Programs, programs, until

GOOD = "tests.worker.runtime.functions.good"
EXAMPLES = ROOT / "examples"
SLOTS = 5


@pytest.fixture(scope="module", params=["memory", "postgres"])
def running(request: pytest.FixtureRequest) -> Iterator[Programs]:
    with programs(request.param, lease_seconds=30.0) as started:
        started.start_master()
        started.start_worker("worker", "--handlers", GOOD, "--capacity", str(SLOTS))
        started.wait_for_workers(1)
        yield started


def submit(running: Programs, handler: str, payload: Any = None, **more: Any) -> str:
    spec = {"name": handler, "runtime": "python", "handler": handler, "payload": payload, **more}
    return str(running.client.submit(spec)["taskId"])


def ended(running: Programs, task_id: str) -> dict[str, Any]:
    return dict(running.client.wait(task_id, timeout_seconds=60))


def podling(running: Programs, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    code = "from podling.boot.cli import main; raise SystemExit(main())"
    environment = os.environ | {"PODLING_MASTER_URL": running.master_url, "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def until_it_says(running: Programs, task_id: str, word: str) -> None:
    until(f"{task_id} says {word}", lambda: word in podling(running, "logs", task_id).stdout)


def test_a_function_runs_by_the_command(running: Programs) -> None:
    done = podling(running, "run", "greet", "--handler", "say.thread", "--payload", '"hi"', "--follow")
    assert (done.returncode, done.stdout) == (0, "hi 0\nhi 1\nhi 2\n"), done
    (listed,) = json.loads(podling(running, "ps", "--json", "--all").stdout)
    assert (listed["name"], listed["handler"], listed["payload"]) == ("greet", "say.thread", "hi")
    assert (listed["status"], listed["exitCode"], listed["maxAttempts"]) == ("completed", 0, 25)
    assert listed["image"] is None
    assert "say.thread" in podling(running, "ps", "--all").stdout


def test_a_function_speaks_to_its_cluster_as_other_programs_do(running: Programs) -> None:
    task_id = submit(running, "resume", {"half": [1]}, retry={"baseSeconds": 0.01})
    task = ended(running, task_id)
    assert (task["status"], task["attempt"]) == ("completed", 2)
    assert task["result"] == {"attempt": 2, "from": {"half": [1]}, "fence": True}


def test_many_functions_end_well(running: Programs) -> None:
    names = ("noop", "noop.thread")
    specs = [
        {"name": "many", "runtime": "python", "handler": names[number % 2], "payload": {"n": [number, None]}}
        for number in range(60)
    ]
    handles = running.client.submit_many(specs)
    for number, handle in enumerate(handles):
        task = handle.wait(timeout_seconds=60)  # type: ignore[union-attr]
        assert (task["status"], task["payload"]) == ("completed", {"n": [number, None]})


@pytest.mark.parametrize(("handler", "most"), [("count", 3), ("tally", SLOTS)])
def test_no_more_run_at_a_time_than_may(running: Programs, handler: str, most: int) -> None:
    ledger = running.directory / f"{handler}.ledger"
    spec = {"name": "bounded", "runtime": "python", "handler": handler, "payload": str(ledger)}
    handles = running.client.submit_many([spec] * (4 * most))
    ends = [handle.wait(timeout_seconds=60)["status"] for handle in handles]  # type: ignore[union-attr]
    assert set(ends) == {"completed"}
    side_by_side = list(accumulate(1 if mark == "+" else -1 for mark in ledger.read_text()))
    assert len(side_by_side) == 8 * most
    assert max(side_by_side) == most


def test_the_places_are_resources_of_the_node(running: Programs) -> None:
    (node,) = running.client.list_all(nodes.listing)
    assert node["resources"]["allocatable"]["handler/count"] == 3
    assert node["resources"]["allocatable"]["handler/noop"] == SLOTS
    assert node["runtimes"] == ["python"]


def test_a_handler_that_nobody_has_is_explained(running: Programs) -> None:
    task_id = submit(running, "nobody.has")
    until("its handlers are at work", lambda: "unhealthy" not in running.task(task_id)["schedulingError"])
    task = running.task(task_id)
    assert task["status"] == "pending"
    assert "handler nobody.has missing" in task["schedulingError"]
    told = dict(running.client.send(tasks.explain(task_id)))
    assert "1 handler nobody.has missing" in told["summary"]
    assert told["reasons"][0]["code"] == "handler_missing"
    assert told["nodes"][0]["lacks"] == ["it has no handler nobody.has"]
    assert told["advice"].startswith("No node has the handler nobody.has: start a worker with --handlers")
    podling(running, "cancel", task_id)


def test_it_is_tried_again_or_not_as_it_says(running: Programs) -> None:
    again = submit(running, "once", retry={"baseSeconds": 0.01})
    never = submit(running, "raise", "fail")
    assert ended(running, again)["status"] == "completed"
    assert [one["errorCode"] for one in running.attempts(again)] == ["RATE_LIMIT", None]
    task = ended(running, never)
    assert (task["status"], task["errorCode"]) == ("failed", "BAD_PAYLOAD")
    assert (task["deadLetterReason"], task["attempt"]) == ("NON_RETRYABLE", 1)


def test_an_exception_is_told_and_its_traceback_is_in_the_log(running: Programs) -> None:
    task_id = submit(running, "raise", "value", maxAttempts=1)
    task = ended(running, task_id)
    assert (task["errorCode"], task["exitCode"]) == ("UNKNOWN", None)
    assert task["error"].startswith("ValueError: wrong (good.py:")
    assert "Traceback (most recent call last)" in podling(running, "logs", task_id).stdout


@pytest.mark.parametrize("by", ["its handler", "its task"])
def test_one_that_takes_too_long_is_a_timeout(running: Programs, by: str) -> None:
    if by == "its handler":
        task_id = submit(running, "slow", maxAttempts=1)
    else:
        never = str(running.directory / "never")
        task_id = submit(running, "wait", never, maxAttempts=1, timeoutSeconds=0.2)
    task = ended(running, task_id)
    assert (task["status"], task["errorCode"]) == ("failed", "TIMEOUT")


@pytest.mark.parametrize("handler", ["wait", "wait.thread", "hang"])
def test_a_cancel_ends_it(running: Programs, handler: str) -> None:
    task_id = submit(running, handler, str(running.directory / "never"), stopGraceSeconds=0.3)
    until_it_says(running, task_id, "ing")
    podling(running, "cancel", task_id)
    assert ended(running, task_id)["status"] == "cancelled"
    assert ("cancelled" in podling(running, "logs", task_id).stdout) == (handler != "hang")


def test_a_crash_is_a_failure_and_its_log_is_there(running: Programs) -> None:
    task_id = submit(running, "crash", 9, maxAttempts=2, retry={"baseSeconds": 0.01})
    task = ended(running, task_id)
    assert (task["status"], task["errorCode"], task["attempt"]) == ("failed", "PANIC", 2)
    assert task["error"].startswith("the process that ran it ended (exit code 9)")
    assert podling(running, "logs", task_id).stdout == "crashing\n"
    assert ended(running, submit(running, "noop"))["status"] == "completed"


def test_a_worker_that_is_killed_takes_them_with_it_and_tells_so(running: Programs) -> None:
    pid = int(podling(running, "run", "--handler", "process", "--follow").stdout.split()[0])
    task_id = submit(running, "wait", str(running.directory / "go"), retry={"baseSeconds": 0.01})
    until_it_says(running, task_id, "waiting")
    running.kill("worker")
    until("its processes have ended", lambda: not Path(f"/proc/{pid}").exists())
    (running.directory / "go").touch()
    running.start_worker("worker")
    task = ended(running, task_id)
    assert (task["status"], task["attempt"]) == ("completed", 2)
    first = running.attempts(task_id)[0]
    assert (first["errorCode"], first["exitCode"]) == ("EXTERNAL", None)
    assert first["error"] == LEFT_SENTENCE
    assert podling(running, "logs", task_id, "--attempt", "1").stdout == "waiting\n"


def test_a_worker_that_stops_lets_them_end(running: Programs) -> None:
    go = running.directory / "go-on"
    task_id = submit(running, "wait", str(go))
    until_it_says(running, task_id, "waiting")
    program = running.ask_to_end("worker")
    until("it takes nothing new", lambda: "shutting down" in str(running.client.list_all(nodes.listing)))
    go.touch()
    assert program.wait(30) == 0
    task = running.until_status(task_id, "completed")
    assert task["attempt"] == 1
    running.start_worker("worker")
    running.wait_for_workers(1)


def test_the_example_does_what_it_says(running: Programs) -> None:
    example = EXAMPLES / "functions.py"
    shutil.copy(example, running.directory)
    running.start_worker("shop", "--handlers", "functions")
    running.wait_for_workers(2)
    environment = os.environ | {"PODLING_MASTER_URL": running.master_url}
    command = [sys.executable, str(example)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "square of 7: completed, 49",
        "greeting for Ada: completed, hello Ada, this is attempt 2",
        "greeting for nobody: failed, BAD_PAYLOAD: there is nobody to greet",
    ], done


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--handlers", "tests.worker.runtime.functions.broken"), "RuntimeError: the shop has no address"),
        (("--handlers", "a-b"), "is not the name of a module"),
        (("--runtime", "python"), "--runtime python needs --handlers"),
    ],
)
def test_a_start_without_functions_is_told(running: Programs, flags: tuple[str, ...], sentence: str) -> None:
    code = "from podling.boot.worker import main; raise SystemExit(main())"
    directory = str(running.directory / "wrong")
    command = [sys.executable, "-c", code, "--port", "0", "--data-dir", directory, *flags]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert tried.returncode == 1
    assert sentence in tried.stderr
    assert "podling-worker" in tried.stderr.splitlines()[-1]
