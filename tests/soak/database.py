"""The PostgreSQL server that the soak owns, and what it asks it as a witness."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from podling.store.postgres.embedded import EmbeddedPostgres

ASK_SECONDS = 10.0
_END_SECONDS = 40.0
_POLL_SECONDS = 0.02
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class DatabaseAway(Exception):
    """The server does not answer now."""


class Database:
    """An embedded server as a direct child, which can be ended in every way."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgres(directory)
        self._directory = directory
        self._connection: asyncpg.Connection[Any] | None = None
        self._lock = asyncio.Lock()

    @property
    def dsn(self) -> str:
        return self._server.dsn

    @property
    def socket(self) -> Path:
        """The server's Unix socket."""
        return (self._directory / "socket").resolve() / ".s.PGSQL.5432"

    @property
    def password(self) -> str:
        return (self._directory / "password").read_text()

    async def start(self) -> None:
        """Start it, again after it was ended, and return when it takes connections."""
        await self._server.start()

    async def end(self, order: int) -> None:
        """Send the postmaster SIGKILL, SIGQUIT (immediate) or SIGINT (fast) and see it go."""
        pid = self._server.postmaster_pid()
        if pid is None:
            return
        os.kill(pid, order)
        deadline = time.monotonic() + _END_SECONDS
        while self._server.postmaster_pid() == pid:
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL did not end on signal {order}")
            await asyncio.sleep(_POLL_SECONDS)

    def pause(self) -> list[int]:
        """Let the server and all its processes hang; return their ids for `resume`."""
        pid = self._server.postmaster_pid()
        if pid is None:
            return []
        os.kill(pid, signal.SIGSTOP)  # first, so that it makes no more of them
        pids = [pid, *_children(pid)]
        _send(pids[1:], signal.SIGSTOP)
        return pids

    def resume(self, pids: Sequence[int]) -> None:
        """Let them go on."""
        _send(pids, signal.SIGCONT)

    async def close(self) -> None:
        """Stop the server."""
        await self._hang_up()
        await self._server.stop()

    async def fetch(self, sql: str, *arguments: Any, seconds: float = ASK_SECONDS) -> list[Any]:
        """Return the rows. Raises DatabaseAway."""
        async with self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    settings = {"application_name": "soak"}
                    self._connection = await asyncpg.connect(self.dsn, timeout=5, server_settings=settings)
                return list(await self._connection.fetch(sql, *arguments, timeout=seconds))
            except _AWAY as error:
                await self._hang_up()
                raise DatabaseAway(str(error)) from error

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _send(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
