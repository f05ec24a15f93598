"""Real masters as programs of their own, for the command to talk to."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MASTER = Path(__file__).parents[2] / "cmd/master/main.py"
_STOP_SECONDS = 30


@contextmanager
def running_master(store: str, *flags: str) -> Iterator[str]:
    """Give the address of a master on an empty store of this kind."""
    clean = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PODLING_", "STORE_", "DATABASE_"))
    }
    folder = Path(tempfile.mkdtemp(prefix="podling-cli-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where this one is root
    if store == "postgres":
        clean |= {"STORE_TYPE": store, "DATABASE_URL": f"embedded:{folder / 'postgres'}"}
    command = [sys.executable, str(MASTER), "--port", "0", "--data-dir", str(folder / "master")]
    command += flags
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean, cwd=folder) as program:
            try:
                yield _address(program)
            finally:
                program.terminate()
                program.communicate(timeout=_STOP_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _address(program: "subprocess.Popen[str]") -> str:
    assert program.stderr is not None
    for line in program.stderr:
        if found := re.search(r"listening on (https?://\S+?),", line):
            return found[1]
    raise AssertionError("the master ended before it listened")
