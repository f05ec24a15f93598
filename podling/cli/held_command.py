"""A command that runs for as long as a lock is held."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from podling.client.blocking_coordination import HeldLock
from podling.core.errors import InvalidInput

GRACE_SECONDS = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


def run_while_held(lock: HeldLock, command: Sequence[str]) -> int:
    """Return the command's exit code, as a shell tells it. Raises InvalidInput if it cannot be started."""
    environment = os.environ | {"PODLING_LOCK_KEY": lock.key, "PODLING_LOCK_TOKEN": str(lock.token)}
    try:
        process = subprocess.Popen(command, env=environment, preexec_fn=_dying_with(os.getpid()))
    except OSError as error:
        raise InvalidInput(f"{command[0]} cannot be run: {error.strerror}") from None
    with _ended_with(lock, process), _signals_passed_to(process):
        return _exit_code(process)


def _dying_with(parent: int) -> Callable[[], None] | None:
    """Return what has a new process killed as soon as this one has died, however; only Linux can do that."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork no other thread frees a lock

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return bind


def _exit_code(process: "subprocess.Popen[bytes]") -> int:
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue  # the command has got it, too, and says itself when it ends
        return code if code >= 0 else 128 - code


@contextmanager
def _ended_with(lock: HeldLock, process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Have the command end when the lock is lost."""
    over = threading.Event()

    def watch() -> None:
        lock.lost.wait()
        if not over.is_set():
            process.terminate()
            if not over.wait(GRACE_SECONDS):
                process.kill()

    threading.Thread(target=watch, name="lock", daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _signals_passed_to(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    def pass_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
