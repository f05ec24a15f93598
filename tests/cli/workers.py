"""Real workers as programs of their own, for masters that the command talks to."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORKER = Path(__file__).parents[2] / "cmd/worker/main.py"
_STOP_SECONDS = 30


@contextmanager
def running_worker(url: str, folder: Path, runtime: str, *flags: str) -> Iterator[None]:
    """Run one that has connected to the master, with 50 slots."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PODLING_")}
    own = ["--master-url", url, "--port", "0", "--data-dir", str(folder), "--capacity", "50"]
    command = [sys.executable, str(WORKER), *own, "--runtime", runtime, *flags]
    with subprocess.Popen(command, env=clean, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stderr is not None
            lines = iter(program.stderr.readline, "")
            assert any(" with master " in line for line in lines), "it ended before it connected"
            yield
        finally:
            program.terminate()
            program.communicate(timeout=_STOP_SECONDS)
