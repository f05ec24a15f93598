"""PostgreSQL servers for tests: the embedded one, Debian's own, or the one that somebody names.

`PODLING_TEST_POSTGRES` chooses: `embedded`, `debian`, or both with a comma (the default); with
`TEST_DATABASE_URL` the default is that server, where tests make databases of their own and touch
nothing else.
"""

import asyncio
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from podling.store.postgres.embedded import EmbeddedPostgres
from podling.store.postgres.store import PostgresStore
from tests.support import require

DEBIAN_BINARIES = Path("/usr/lib/postgresql/15/bin")
_PATIENCE_SECONDS = 60

_Result = TypeVar("_Result")

# Deleting a few rows takes a hundredth of the time that truncating or a new database would take.
_EMPTY = """
DO $$
DECLARE name regclass;
BEGIN
    FOR name IN
        SELECT oid FROM pg_class
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
          AND relname NOT IN ('podling_migrations', 'cluster', 'leadership')
    LOOP
        EXECUTE format('DELETE FROM %s', name);
    END LOOP;
    UPDATE leadership SET epoch = 0, holder = NULL, counter = 0;
END $$
"""

_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"


def chosen_servers() -> list[str]:
    """Return which servers the tests run on, by name."""
    debian = ",debian" if DEBIAN_BINARIES.exists() or os.environ.get("CI") == "true" else ""
    default = "url" if os.environ.get("TEST_DATABASE_URL") else f"embedded{debian}"
    names = os.environ.get("PODLING_TEST_POSTGRES") or default
    return [name.strip() for name in names.split(",") if name.strip()]


class PostgresServer:
    """A running server on which tests make databases: each a copy of one that is made once."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._prefix = f"podling_test_{secrets.token_hex(4)}"
        self._count = 0
        self._template: str | None = None
        self._free: list[str] = []
        self._reused: list[str] = []

    def dsn_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    @asynccontextmanager
    async def empty_database(self) -> AsyncIterator[str]:
        """Give the DSN of a database without any tables, and drop it afterwards."""
        name = self._next_name()
        await self._run(f"CREATE DATABASE {name}")
        try:
            yield self.dsn_of(name)
        finally:
            await self._drop(name)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Give the DSN of a database with Podling's empty tables, and drop it afterwards."""
        name = self._next_name()
        await self._run(f"CREATE DATABASE {name} TEMPLATE {await self._make_template()}")
        try:
            yield self.dsn_of(name)
        finally:
            await self._drop(name)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[PostgresStore]:
        """Give an open and empty store, on a database that was emptied if others have used it before.

        It does not wait for the disk, so it is not for tests that kill the server.
        """
        async with self.emptied_database() as dsn:
            store = PostgresStore(dsn)
            await store.open()
            try:
                yield store
            finally:
                await store.close()

    @asynccontextmanager
    async def emptied_database(self) -> AsyncIterator[str]:
        """Give the DSN of the database that such a store has."""
        name = await self._borrow()
        try:
            yield self.dsn_of(name)
        finally:
            await self._run(_EMPTY, name)
            self._free.append(name)

    async def _borrow(self) -> str:
        if self._free:
            return self._free.pop()
        name = self._next_name()
        await self._run(f"CREATE DATABASE {name} TEMPLATE {await self._make_template()}")
        self._reused.append(name)
        await self._run(f"ALTER DATABASE {name} SET synchronous_commit = off")
        return name

    async def clean(self) -> None:
        """Drop what is left of this run's databases."""
        for name in [*self._reused, *([self._template] if self._template else [])]:
            await self._drop(name)

    async def _make_template(self) -> str:
        if self._template is None:
            name = self._next_name()
            await self._run(f"CREATE DATABASE {name}")
            self._template = name
            store = PostgresStore(self.dsn_of(name))
            await store.open()
            await store.close()
        return self._template

    async def _drop(self, name: str) -> None:
        await drop_database(self.dsn, name)

    def _next_name(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"

    async def _run(self, command: str, database: str | None = None) -> None:
        dsn = self.dsn_of(database) if database else self.dsn
        connection = await asyncpg.connect(dsn, timeout=_PATIENCE_SECONDS)
        try:
            await connection.execute(command, timeout=_PATIENCE_SECONDS)
        finally:
            await connection.close(timeout=_PATIENCE_SECONDS)


async def drop_database(dsn: str, name: str) -> None:
    """End the sessions that are left in a database, and drop it: `WITH (FORCE)` is new in PostgreSQL 13."""
    connection = await asyncpg.connect(dsn, timeout=_PATIENCE_SECONDS)
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", timeout=_PATIENCE_SECONDS)
        await connection.execute(_END_SESSIONS, name, timeout=_PATIENCE_SECONDS)
        await connection.execute(f"DROP DATABASE {name}", timeout=_PATIENCE_SECONDS)
    finally:
        await connection.close(timeout=_PATIENCE_SECONDS)


@contextmanager
def running_server(name: str) -> Iterator[PostgresServer]:
    """Give the server of this name, started if it has to be, and leave nothing behind."""
    with _SERVERS[name]() as dsn:
        server = PostgresServer(dsn)
        try:
            yield server
        finally:
            _run(server.clean())


def _run(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Run it on a loop of its own in a thread of its own, as the caller may be inside a loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


@contextmanager
def _embedded() -> Iterator[str]:
    with _open_folder() as folder:
        server = EmbeddedPostgres(folder / "embedded")
        try:
            yield _run(server.start())
        finally:
            _run(server.stop())


@contextmanager
def _debian() -> Iterator[str]:
    require((DEBIAN_BINARIES / "postgres").exists(), "Debian's postgresql-15 is not installed")
    with _open_folder() as folder:
        server = DebianPostgres(folder)
        server.start()
        try:
            yield server.dsn
        finally:
            server.stop()


@contextmanager
def _by_url() -> Iterator[str]:
    dsn = os.environ.get("TEST_DATABASE_URL")
    require(dsn, "TEST_DATABASE_URL is not set")
    assert dsn is not None
    yield dsn


_SERVERS = {"embedded": _embedded, "debian": _debian, "url": _by_url}


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Give a temporary folder that other users may pass through, as PostgreSQL's has to."""
    folder = Path(tempfile.mkdtemp(prefix="podling-postgres-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class DebianPostgres:
    """PostgreSQL 15 as Debian ships it, on a free port of the loopback interface.

    It runs as this user, or as `postgres` where this user is root.
    """

    def __init__(self, folder: Path) -> None:
        self._home = folder / "home"
        self._port = _free_port()
        self._password = secrets.token_urlsafe(16)

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Make the data and start the server. Raises CalledProcessError."""
        self._home.mkdir(mode=0o700)
        password = self._home / "password"
        password.write_text(self._password)
        if os.geteuid() == 0:
            shutil.chown(self._home, "postgres")
            shutil.chown(password, "postgres")
        self._run(
            "initdb",
            "--auth=scram-sha-256",
            "--username=postgres",
            f"--pwfile={password}",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        options = f"-p {self._port} -h 127.0.0.1 -k {self._home} -c fsync=off"
        self._run("pg_ctl", "start", "-w", f"--log={self._home / 'log'}", f"--options={options}")

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "--mode=fast")

    def break_off(self) -> None:
        """Crash the server and start it again, with the options that it had."""
        self._run("pg_ctl", "restart", "-w", "--mode=immediate", f"--log={self._home / 'log'}")

    def log(self) -> str:
        """Return what the server wrote."""
        return (self._home / "log").read_text(errors="replace")

    def _run(self, program: str, *arguments: str) -> None:
        user = postgres_account() if os.geteuid() == 0 else {}
        subprocess.run(
            [str(DEBIAN_BINARIES / program), f"--pgdata={self._home / 'data'}", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            cwd=self._home,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            **user,  # type: ignore[call-overload]
        )


def postgres_account() -> dict[str, object]:
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
