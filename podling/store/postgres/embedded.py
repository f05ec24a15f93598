"""`embedded:DIR`: a real PostgreSQL of this machine's own, started by whoever needs it first.

Every process that uses it holds a shared lock on `DIR/live`; the last one to leave stops the
server. A kill -9 gives the lock back too, so the next start finds either a server that still runs,
and attaches, or data that a new server takes up.
"""

import asyncio
import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode

import asyncpg

from podling.core.errors import ConfigurationError, StoreUnavailable
from podling.store.postgres.embedded_host import Account, binaries, find_account, place_data, place_sockets
from podling.store.postgres.errors import DRIVER_ERRORS, lost_connection
from podling.store.postgres.file_lock import FileLock

PREFIX = "embedded:"
USER = "postgres"
DATABASE = "postgres"

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_RESTART_SECONDS = 0.5
_MAX_LOG_BYTES = 8 * 1024 * 1024
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def embedded_directory(url: str) -> Path | None:
    """Return DIR of `embedded:DIR`, None for any other address. Raises ConfigurationError without DIR."""
    if not url.startswith(PREFIX):
        return None
    directory = url.removeprefix(PREFIX)
    if not directory:
        raise ConfigurationError("embedded: needs a directory, for example embedded:var/postgres")
    return Path(directory).expanduser()


class EmbeddedPostgres:
    """The server whose files lie in one directory, shared by every process that names it."""

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory).absolute()
        self._start_lock = FileLock(self._directory / "lock")
        self._live_lock = FileLock(self._directory / "live")
        self._child: subprocess.Popen[bytes] | None = None
        self._dsn: str | None = None

    @property
    def dsn(self) -> str:
        """The address for asyncpg, with its password: private to this machine and this user."""
        if self._dsn is None:
            raise StoreUnavailable("the embedded PostgreSQL has not been started")
        return self._dsn

    async def start(self) -> str:
        """Start the server, or attach to the one that runs; return its DSN.

        May be called again to bring a server back that has died. Raises ConfigurationError if the
        directory cannot be used, StoreUnavailable if the server does not come up.
        """
        self._make_directory()
        await asyncio.to_thread(self._start_lock.take_alone, _START_SECONDS)
        try:
            self._live_lock.take_shared()
            self._dsn = await self._start()
        except BaseException:
            self._live_lock.release()
            raise
        finally:
            self._start_lock.release()
        return self._dsn

    async def stop(self) -> None:
        """Leave; the last process to leave stops the server."""
        if self._dsn is None:
            return
        self._dsn = None
        await asyncio.to_thread(self._start_lock.take_alone, _START_SECONDS)
        try:
            if self._live_lock.try_alone():
                await asyncio.to_thread(self._stop)
        finally:
            self._live_lock.release()
            self._start_lock.release()

    async def keep_running(self, restarted: Callable[[], None] | None = None) -> None:
        """Start the server again whenever it dies, and tell. Runs until it is cancelled."""
        while True:
            pid = self.postmaster_pid()
            if pid is not None:
                await _ended(pid)
            with contextlib.suppress(StoreUnavailable):
                await self.start()
                if restarted is not None:
                    restarted()
            # A server that cannot stay up is not started in a tight circle.
            await asyncio.sleep(_RESTART_SECONDS)

    def postmaster_pid(self) -> int | None:
        """Return the process id of the running server, None without one."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        return _running_pid((self._directory / "data").resolve())

    def _make_directory(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            probe = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(probe)
        except OSError as error:
            raise ConfigurationError(
                f"the directory {self._directory} of the embedded database cannot be written "
                f"({error.strerror}): give it to this user or name another with DATABASE_URL=embedded:DIR"
            ) from None

    async def _start(self) -> str:
        account = find_account(self._directory / "data")
        data = place_data(self._directory, account)
        sockets = place_sockets(self._directory, data, account)
        programs = binaries(account)
        if not (data / "PG_VERSION").exists():
            await asyncio.to_thread(self._initialize, programs, data, account)
        dsn = _dsn(sockets, (self._directory / "password").read_text())
        await self._serve(programs, data, sockets, account, dsn)
        return dsn

    def _initialize(self, programs: Path, data: Path, account: Account) -> None:
        """Make the data beside its place and move it there whole, so that a kill leaves no half."""
        unfinished = data.parent / "initializing"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        password = secrets.token_urlsafe(32)
        _write_private(self._directory / "password", password)
        handed = data.parent / "initdb.password"
        _write_private(handed, password)
        account.own(handed)
        try:
            self._run_initdb(programs, unfinished, handed, account)
        finally:
            handed.unlink()
        unfinished.rename(data)

    def _run_initdb(self, programs: Path, data: Path, password_file: Path, account: Account) -> None:
        command = [
            str(programs / "initdb"),
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]
        result = subprocess.run(
            command,
            check=False,
            capture_output=True,
            timeout=_START_SECONDS,
            cwd=data,
            env=_environment(),
            **account.options(),
        )
        if result.returncode != 0:
            reason = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise StoreUnavailable(f"the embedded PostgreSQL could not be set up: {' '.join(reason)}")

    async def _serve(self, programs: Path, data: Path, sockets: Path, account: Account, dsn: str) -> None:
        """Bring the server up and see it answer, or raise StoreUnavailable at the deadline."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.postmaster_pid() is None:
                # Processes of a server that was killed may hold its memory a little longer than it
                # lives; a start in that moment fails and is repeated.
                self._child = self._launch(programs, data, sockets, account)
            if await _answers(dsn):
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise StoreUnavailable(
            f"the embedded PostgreSQL did not come up in time; read {self._directory / 'postgres.log'}"
        )

    def _launch(self, programs: Path, data: Path, sockets: Path, account: Account) -> subprocess.Popen[bytes]:
        settings = [part for name, text in _SETTINGS.items() for part in ("-c", f"{name}={text}")]
        with _open_log(self._directory / "postgres.log") as log:
            return subprocess.Popen(
                [str(programs / "postgres"), "-D", str(data), "-k", str(sockets), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=data,
                env=_environment(),
                start_new_session=True,
                **account.options(),
            )

    def _stop(self) -> None:
        """Fast shutdown; if that hangs, the immediate one, after which the next start recovers."""
        for order, patience_seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGQUIT, 5.0)):
            pid = self.postmaster_pid()
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, order)
            if _wait_for_end(pid, patience_seconds):
                break
        self.postmaster_pid()  # reap it, if it was started here


def _dsn(sockets: Path, password: str) -> str:
    return f"postgresql://{USER}:{quote(password)}@/{DATABASE}?{urlencode({'host': str(sockets)})}"


def _environment() -> dict[str, str]:
    """Keep PGDATA, PGHOST and the like of the caller's shell away from the server."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _open_log(path: Path) -> IO[bytes]:
    too_long = path.exists() and path.stat().st_size > _MAX_LOG_BYTES
    return path.open("wb" if too_long else "ab")


def _running_pid(data: Path) -> int | None:
    """Return the pid in postmaster.pid if a server of this very directory has it."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        # A pid may have been given to another program since; ours works inside its data directory.
        is_ours = Path(f"/proc/{pid}/cwd").readlink() == data
    except (OSError, ValueError):
        return None
    return pid if is_ours else None


async def _answers(dsn: str) -> bool:
    """Whether the server takes connections."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close(timeout=5)
    except DRIVER_ERRORS as error:
        if not (lost_connection(error) or isinstance(error, TimeoutError)):
            raise
        return False
    return True


async def _ended(pid: int) -> None:
    """Wait until the process is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _wait_for_end(pid: int, timeout_seconds: float) -> bool:
    """Whether the process ended in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([descriptor], [], [], timeout_seconds)
        return bool(readable)
    finally:
        os.close(descriptor)
