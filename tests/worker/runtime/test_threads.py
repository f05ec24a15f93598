"""Threads that end with the program, and those that end by themselves."""

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from podling.worker.runtime import threads as module
from podling.worker.runtime.threads import Threads

HANGING = """
import threading
from podling.worker.runtime.threads import Threads
threads = Threads(2, "hangs")
began = threading.Event()
threads.submit(lambda: (began.set(), threading.Event().wait()))
began.wait(10)
threads.shutdown()
print("over")
"""


def test_a_call_that_hangs_does_not_hold_up_the_programs_end() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout) == (0, "over\n"), ended.stderr


def test_no_more_threads_than_allowed_and_every_call_is_made() -> None:
    threads = Threads(3, "few")
    together = threading.Barrier(3)
    futures = [threads.submit(together.wait, 10) for _ in range(9)]
    assert sorted(future.result(10) for future in futures) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert sum(thread.name == "few" for thread in threading.enumerate()) == 3
    threads.shutdown()


def test_what_a_call_raises_is_raised_to_who_waits() -> None:
    threads = Threads(1, "raising")
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    assert threads.submit(lambda: 7).result(10) == 7
    threads.shutdown()


def test_a_shutdown_cancels_what_has_not_begun() -> None:
    threads = Threads(1, "busy")
    go, began = threading.Event(), threading.Event()
    first = threads.submit(lambda: (began.set(), go.wait(10)))
    assert began.wait(10)
    second = threads.submit(lambda: None)
    threads.shutdown()
    with pytest.raises(CancelledError):
        second.result(10)
    go.set()
    assert first.result(10) == (None, True)
    with pytest.raises(RuntimeError):
        threads.submit(lambda: None)


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    threads = Threads(4, "brief")
    made = threads.submit(threading.current_thread).result(10)
    made.join(10)
    assert not made.is_alive()
    assert threads.submit(lambda: 1).result(10) == 1
    threads.shutdown()
