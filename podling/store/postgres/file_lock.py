"""Locks between processes: they end with the process that holds them, however it ends."""

import fcntl
import os
import time
from pathlib import Path

from podling.core.errors import DeadlineExceeded

_RETRY_SECONDS = 0.02


class FileLock:
    """One flock. Taken on a file of its own, which is never removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take_shared(self) -> None:
        """Take it beside other sharers. Raises BlockingIOError if somebody has it alone."""
        self._take(fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        """Take it alone, or turn a shared hold into one; False if somebody else has it too."""
        try:
            self._take(fcntl.LOCK_EX)
        except BlockingIOError:
            return False
        return True

    def take_alone(self, timeout_seconds: float) -> None:
        """Wait for it. Raises DeadlineExceeded."""
        deadline = time.monotonic() + timeout_seconds
        while not self.try_alone():
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"another process has held {self._path} for {timeout_seconds:g} s")
            # flock has no deadline of its own, so it is asked again.
            time.sleep(_RETRY_SECONDS)

    def release(self) -> None:
        """Let it go; harmless without it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, mode: int) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, mode | fcntl.LOCK_NB)
