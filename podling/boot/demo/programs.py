"""Child processes of the demo: each in a session of its own, so that Ctrl-C reaches the demo alone."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 20.0


class ChildProgram:
    """A running program with its output in a file."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the last line it wrote."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False if it still runs then."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """As `kill -9`, and wait for its end."""
        if self.runs():
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Ask it to end; kill it if it doesn't within 20 seconds."""
        if self.runs():
            self._process.terminate()
            if not self.wait(STOP_SECONDS):
                self.kill()


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of Podling, which belong to somebody else's cluster."""
    foreign = ("PODLING_", "DATABASE_", "TEST_DATABASE_", "STORE_TYPE")
    return {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
