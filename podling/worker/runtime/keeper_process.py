"""What the keeper knows of one process. Standard library alone; see `keeper`."""

import time

from podling.worker.runtime.keeper_journal import Record

LOST = "The keeper of the processes was killed while it ran; its exit code cannot be known."
REBOOTED = "The machine restarted while it ran; its exit code cannot be known."

_NAMES = ("id", "task", "attempt", "container")
_FIELDS = (*_NAMES, "state", "at", "boot", "pid", "ticks", "started")
END_FIELDS = ("finished", "code", "error_code", "error")


class Process:
    """One process, or what is known of it. `spec` is kept in memory alone: it may hold secrets."""

    def __init__(self, about: Record, spec: Record | None = None) -> None:
        self.about: Record = {name: about.get(name) for name in (*_FIELDS, *END_FIELDS)}
        self.spec = spec
        self.pidfd: int | None = None
        self.kill_at: float | None = None
        self.stop: Record | None = None
        self.forget = False

    @property
    def running(self) -> bool:
        return bool(self.about["state"] == "running")

    def ended(self, code: int | None, error_code: str | None = None, error: str | None = None) -> Record:
        """Return what is to be known of it now that it has ended."""
        end = {"finished": microseconds(), "code": code, "error_code": error_code, "error": error}
        return {**self.about, "state": "exited", **end}


class Spawn:
    """A spawn that waits for its turn, and who waits for it."""

    def __init__(self, process: Process, boot: str) -> None:
        names = {name: process.about[name] for name in _NAMES}
        self.process = process
        self.intent = {**names, "state": "spawning", "at": microseconds(), "boot": boot}
        self.askers: list[int] = []


def microseconds() -> int:
    """Return the wall clock, in microseconds since 1970."""
    return time.time_ns() // 1000
