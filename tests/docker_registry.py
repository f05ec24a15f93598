"""A real registry on loopback: Debian's docker-registry."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import require

PATIENCE_SECONDS = 20.0
_CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def registry_at(port: int, folder: Path, more: str = "") -> Iterator[str]:
    """Serve what lies in the folder; give the registry's name. `more` is further configuration."""
    program = shutil.which("docker-registry")
    require(program, "no docker-registry; it is in Debian's package of that name")
    file = folder / "registry.yml"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port) + more)
    process = subprocess.Popen(
        [str(program), "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the registry ended"
            assert time.monotonic() < deadline, "the registry does not listen"
            time.sleep(0.02)
