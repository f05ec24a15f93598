"""`podling/task.py` stands alone, on any Python from 3.8 on, and says when a lock is lost."""

import ast
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import podling.task
from podling.task import LockLost, NotAnswered, Refused, StaleAttempt, Task

SOURCE = Path(podling.task.__file__)
PATIENCE_SECONDS = 20


def test_it_is_written_for_python_3_8_and_needs_nothing_else() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    annotations = [ast.unparse(node.annotation) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    told = [
        ast.unparse(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for each in (node.returns, *(one.annotation for one in node.args.args))
        if each is not None
    ]
    newer = [text for text in (*annotations, *told) if "|" in text or text.startswith(("dict[", "list["))]
    assert not newer, "these need a newer Python"


class Master:
    """Answers what it is told to, by the end of the path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.extended = threading.Event()
        master = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                verb = self.path.rpartition("/")[2]
                master.asked.append((verb, body))
                status, answer = master.answers[verb]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())
                if verb == "extend":
                    master.extended.set()

            def log_message(self, *_: Any) -> None:
                """Tests read what was asked."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def task(self, patience_seconds: float = 5.0) -> Task:
        environment = {
            "PODLING_TASK_ID": "t",
            "PODLING_ATTEMPT": "1",
            "PODLING_NODE_ID": "n",
            "PODLING_API": f"http://127.0.0.1:{self.server.server_port}/api/v1",
            "PODLING_TOKEN": "secret",
        }
        return Task(environment, patience_seconds=patience_seconds)


@pytest.fixture
def master() -> Iterator[Master]:
    found = Master()
    found.answers = {"acquire": (200, {"token": 7}), "extend": (200, {}), "release": (200, {})}
    serving = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield found
    found.server.shutdown()
    serving.join()
    found.server.server_close()


def test_a_lock_is_renewed_and_released(master: Master) -> None:
    with master.task().lock("k", ttl_seconds=0.6) as lock:
        assert master.extended.wait(PATIENCE_SECONDS)
        assert lock.token == 7
    assert (master.asked[0][0], master.asked[-1]) == ("acquire", ("release", {"token": 7}))
    assert master.asked[0][1]["ttlSeconds"] == 0.6


def test_a_lock_that_was_freed_is_lost(master: Master) -> None:
    master.answers["extend"] = (409, {"code": "lock_not_held", "error": "freed"})
    with pytest.raises(LockLost), master.task().lock("k", ttl_seconds=0.3) as lock:
        assert not lock.is_lost
        assert master.extended.wait(PATIENCE_SECONDS)
    assert lock.is_lost


def test_a_lock_is_renewed_again_after_nobody_has_answered_for_a_while(master: Master) -> None:
    master.answers["extend"] = (503, {"code": "no_master", "error": "try again"})
    with master.task(patience_seconds=0.05).lock("k", ttl_seconds=3) as lock:
        assert master.extended.wait(PATIENCE_SECONDS)
        master.answers["extend"] = (200, {})
        master.extended.clear()
        assert master.extended.wait(PATIENCE_SECONDS)
        assert not lock.is_lost


def test_work_that_was_done_under_a_lock_is_done_though_nobody_takes_it_back(master: Master) -> None:
    master.answers["release"] = (503, {"code": "no_master", "error": "try again"})
    with master.task(patience_seconds=0.05).lock("k", ttl_seconds=30) as lock:
        assert not lock.is_lost
    with pytest.raises(KeyError), master.task(patience_seconds=0.05).lock("k", ttl_seconds=30):
        raise KeyError


def test_what_a_block_raises_is_not_hidden_by_a_lost_lock(master: Master) -> None:
    master.answers["release"] = (409, {"code": "lock_not_held", "error": "freed"})
    with pytest.raises(KeyError), master.task().lock("k"):
        raise KeyError


def test_a_refusal_is_told_apart(master: Master) -> None:
    master.answers["acquire"] = (409, {"code": "lock_held", "error": "somebody has it"})
    with pytest.raises(Refused, match="somebody has it") as refused, master.task().lock("k"):
        raise AssertionError("it was not to be had")
    assert (refused.value.status, refused.value.code) == (409, "lock_held")
    master.answers["checkpoints"] = (409, {"code": "stale_attempt", "error": "another one runs"})
    with pytest.raises(StaleAttempt, match="another one runs"):
        master.task().checkpoint(1)
    master.answers["checkpoints"] = (503, {"code": "no_master", "error": "try again"})
    with pytest.raises(NotAnswered, match="try again"):
        master.task(patience_seconds=0.3).checkpoint(1)
    assert len([verb for verb, _ in master.asked if verb == "checkpoints"]) >= 3


def test_outside_a_task_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="outside a task"):
        podling.task.current({})
