"""Debian's PgBouncer in transaction mode, which gives every transaction another session."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import require

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATIENCE_SECONDS = 10.0


@contextmanager
def pooler(dsn: str, folder: Path, sessions: int = 3) -> Iterator[str]:
    """Run one before the server; give the address through it."""
    require(PGBOUNCER, "pgbouncer is not installed")
    server = urlsplit(dsn)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.hostname} port={server.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\npool_mode = transaction\n"
        f"auth_type = scram-sha-256\nauth_file = {folder / 'users'}\ndefault_pool_size = {sessions}\n"
        f"logfile = {folder / 'log'}\n"
    )
    folder.chmod(0o777)
    user = ["-u", "postgres"] if os.geteuid() == 0 else []
    process = subprocess.Popen([str(PGBOUNCER), "-q", *user, str(folder / "pgbouncer.ini")])
    try:
        _wait_until_it_listens(port)
        yield f"postgresql://{server.username}:{server.password}@127.0.0.1:{port}{server.path}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.02)
        else:
            return
