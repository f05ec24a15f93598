"""A PostgreSQL of one test's own, a direct child that may be killed, frozen and brought back."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from tests.e2e.programs import free_port
from tests.postgres_servers import DEBIAN_BINARIES, postgres_account
from tests.support import require

PATIENCE_SECONDS = 60.0
STOPS = {"kill": signal.SIGKILL, "immediate": signal.SIGQUIT, "fast": signal.SIGINT}
_SETTINGS = {"fsync": "off", "shared_buffers": "32MB", "wal_level": "replica", "hot_standby": "on"}


class OwnPostgres:
    """PostgreSQL on a free port of loopback (Debian's 15), as the user `postgres` where this is root."""

    def __init__(
        self, home: Path, environment: Mapping[str, str] | None = None, binaries: Path = DEBIAN_BINARIES
    ) -> None:
        self.home = home
        self.binaries = binaries
        self.data = home / "data"
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        own(home)

    @property
    def dsn(self) -> str:
        return self.dsn_at(self.port)

    def dsn_at(self, port: int) -> str:
        """Return the address through another port of this machine: a proxy's, or a pooler's."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{port}/postgres"

    def initialize(self, *arguments: str) -> None:
        password = self.home / "password"
        password.write_text(self.password)
        own(password)
        flags = ["--auth=scram-sha-256", "--username=postgres", f"--pwfile={password}"]
        flags += ["--encoding=UTF8", "--locale=C", "--no-sync", *arguments]
        self._run("initdb", f"--pgdata={self.data}", *flags)
        with (self.data / "pg_hba.conf").open("a") as access:
            access.write("host replication all 127.0.0.1/32 scram-sha-256\n")

    def clone(self, primary: "OwnPostgres", name: str) -> None:
        """Become a streaming standby of the other server, which knows it by the name."""
        self.password = primary.password
        target = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password}"
        flags = ["-d", f"{target} application_name={name}", "-R", "-X", "stream", "--checkpoint=fast"]
        self._run("pg_basebackup", "-D", str(self.data), *flags)

    def start(self, **settings: str) -> None:
        """Start it and wait until it takes connections; return how soon in `ready_at`."""
        self.launch(**settings)
        self.wait_until_ready()

    def launch(self, **settings: str) -> None:
        """Start it without waiting."""
        pairs = [part for pair in (_SETTINGS | settings).items() for part in ("-c", "=".join(pair))]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port),
                 "-h", "127.0.0.1", "-k", str(self.home), *pairs],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._options(),
            )  # fmt: skip

    def wait_until_ready(self) -> float:
        """Return the moment (monotonic) at which it answered; starts it again while it cannot start."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if not self.runs():
                self.launch()  # what a killed server left may hold its memory for a moment
            if self._answers():
                return time.monotonic()
            time.sleep(0.02)
        raise AssertionError(f"PostgreSQL did not come up: {self.log()}")

    def _answers(self) -> bool:
        command = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, timeout=10).returncode == 0

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, how: str = "fast") -> None:
        """End it by one of STOPS, and wait for the end."""
        self.thaw()
        if self._process is None:
            return
        self._process.send_signal(STOPS[how])
        self._process.wait(PATIENCE_SECONDS)
        self._process = None

    def freeze(self) -> None:
        """Stop every process of the server in its tracks (SIGSTOP)."""
        assert self._process is not None
        self._signal_stop(self._process.pid)
        for pid in _children(self._process.pid):
            self._signal_stop(pid)

    def _signal_stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._frozen.append(pid)

    def thaw(self) -> None:
        for pid in reversed(self._frozen):
            os.kill(pid, signal.SIGCONT)
        self._frozen.clear()

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "-w", f"--pgdata={self.data}")

    def query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement on a connection of its own."""
        return asyncio.run(_query(self.dsn, sql, arguments))

    def log(self) -> str:
        path = self.home / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self.binaries / program), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, timeout=PATIENCE_SECONDS, **self._options()
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def _options(self) -> dict[str, Any]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"} | self._environment
        account = postgres_account() if os.geteuid() == 0 else {}
        return {"cwd": self.home, "env": environment, **account}


async def _query(dsn: str, sql: str, arguments: tuple[Any, ...]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS)
    try:
        return list(await connection.fetch(sql, *arguments, timeout=PATIENCE_SECONDS))
    finally:
        await connection.close(timeout=PATIENCE_SECONDS)


def own(path: Path) -> None:
    """Give a file or folder to the user that the server runs as."""
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@contextmanager
def server_home() -> Iterator[Path]:
    """Give a folder that the user `postgres` can reach, for one server."""
    require((DEBIAN_BINARIES / "postgres").exists(), "Debian's postgresql-15 is not installed")
    folder = Path(tempfile.mkdtemp(prefix="podling-fault-"))
    folder.chmod(0o755)
    home = folder / "server"
    home.mkdir(mode=0o700)
    try:
        yield home
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_postgres(environment: Mapping[str, str] | None = None, **settings: str) -> Iterator[OwnPostgres]:
    """Give a running server; whatever state a test leaves it in, it is ended."""
    with server_home() as home:
        server = OwnPostgres(home, environment)
        server.initialize()
        server.start(**settings)
        try:
            yield server
        finally:
            server.stop("immediate")
