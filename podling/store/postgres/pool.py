"""Connections to PostgreSQL: bounded in number, age and waiting time."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from podling.kit import keepalive
from podling.store.postgres.address import check_address, shown, without_timeout
from podling.store.postgres.errors import DRIVER_ERRORS, translated
from podling.store.postgres.hosts import connect

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
if TYPE_CHECKING:
    _Base = asyncpg.Connection[asyncpg.Record]
else:  # generic in its stubs alone
    _Base = asyncpg.Connection

# A generic plan made while the hot tables were empty would be kept when they are full. And statistics
# taken while they were empty would make a join read all of one, or a page be sorted out of all that waits
# instead of read in the order of its index.
_PLAN_SETTINGS = {
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the database's own default is
_ISOLATION = {"default_transaction_isolation": "read committed"}
_KEEPALIVE_SETTINGS = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_PERSONAL_ROOTS = Path("~/.postgresql/root.crt")
CONNECTION_SECONDS = 1800.0
IDLE_SECONDS = 300.0
_GIVE_UP_SECONDS = 0.25  # for a server that was told to forget a statement and does not answer
_MANY_QUERIES = 1_000_000
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Connection(_Base):
    def get_reset_query(self) -> str:
        """Nothing here changes a session's state, so giving a connection back costs no round trip."""
        return ""


@dataclass(frozen=True)
class Address:
    """A DSN that never shows its password. `pooled`: a transaction pooler stands before the server."""

    dsn: str
    command_timeout_seconds: float
    pooled: bool = False
    synchronous_commit: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.where!r})"

    @property
    def where(self) -> str:
        """Return host, port and database; neither user nor password."""
        return shown(self.dsn)

    def check(self) -> None:
        """Raise ConfigurationError for what the driver would only tell in riddles."""
        check_address(self.dsn)

    def options(self) -> dict[str, Any]:
        """Return the arguments for asyncpg's connect and create_pool."""
        settings = {"application_name": "podling"}
        if not self.pooled:
            milliseconds = int(self.command_timeout_seconds * 1000)
            settings |= self.session_settings() | _KEEPALIVE_SETTINGS | _ISOLATION
            settings["statement_timeout"] = str(milliseconds)
            settings["idle_in_transaction_session_timeout"] = str(milliseconds)
        dsn, connect_seconds = without_timeout(self.dsn)
        return self._trust() | {
            "dsn": dsn,
            "timeout": connect_seconds or self.command_timeout_seconds,
            "command_timeout": self.command_timeout_seconds,
            "server_settings": settings,
            "statement_cache_size": 0 if self.pooled else 100,
        }

    def session_settings(self) -> dict[str, str]:
        """Return what holds for every statement; behind a pooler it is said in every transaction."""
        wanted = self.synchronous_commit
        return _PLAN_SETTINGS if wanted is None else _PLAN_SETTINGS | {"synchronous_commit": wanted}

    def _trust(self) -> dict[str, Any]:
        """Verify by the machine's own authorities where the DSN names none; the driver would refuse."""
        query = parse_qs(urlsplit(self.dsn).query)
        mode = query.get("sslmode", ["prefer"])[-1]
        named = "sslrootcert" in query or "PGSSLROOTCERT" in os.environ
        if mode not in ("verify-ca", "verify-full") or named or _PERSONAL_ROOTS.expanduser().exists():
            return {}
        context = ssl.create_default_context()
        context.check_hostname = mode == "verify-full"
        return {"ssl": context}


def keep_alive(connection: Connection) -> None:
    """Make the kernel notice within half a minute that the other side is gone."""
    transport = getattr(connection, "_transport", None)
    keepalive.keep_alive(transport.get_extra_info("socket") if transport is not None else None)


async def _on_connect(connection: Connection) -> None:
    keep_alive(connection)
    # The driver's own conversion of times takes four times as long.
    async with connection.transaction():
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", format="tuple", encoder=_time_to_wire, decoder=_time_from_wire
        )


def _time_to_wire(at: datetime) -> tuple[int]:
    return ((at - _POSTGRES_EPOCH) // _MICROSECOND,)


def _time_from_wire(wire: tuple[int]) -> datetime:
    return _POSTGRES_EPOCH + timedelta(microseconds=wire[0])


class Pool:
    """A pool whose errors are Podling's own; its last connection is kept for what is urgent."""

    def __init__(
        self,
        address: Address,
        size: int,
        *,
        connection_seconds: float = CONNECTION_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._address = address
        self._size = size
        self._connection_seconds = connection_seconds
        self._idle_seconds = idle_seconds
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._fresh_until = 0.0
        self._turns = asyncio.Semaphore(size - 1 if size > 2 else size)  # of what is not urgent

    @property
    def address(self) -> Address:
        return self._address

    async def open(self) -> None:
        """Connect once. Raises the driver's own errors."""
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                min_size=1,
                max_size=self._size,
                max_queries=_MANY_QUERIES,
                max_inactive_connection_lifetime=self._idle_seconds,
                connection_class=_Connection,
                init=_on_connect,
                **self._address.options() | {"connect": connect},
            )
            self._fresh_until = _now() + self._connection_seconds

    async def close(self) -> None:
        """Close politely, or at the deadline by force."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(self._address.command_timeout_seconds):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def _turn(self, urgent: bool) -> AsyncIterator[None]:
        if urgent:
            yield
            return
        async with asyncio.timeout(self._address.command_timeout_seconds):
            await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _lent(self, urgent: bool = False) -> AsyncIterator[Connection]:
        async with self._turn(urgent), self._taken() as connection:
            yield connection

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Connection]:
        if self._pool is None:
            raise asyncpg.InterfaceError("the store is not open")
        if _now() > self._fresh_until:
            self._fresh_until = _now() + self._connection_seconds
            await self._pool.expire_connections()
        pool = self._pool
        connection = await pool.acquire(timeout=self._address.command_timeout_seconds)
        try:
            yield connection
        finally:
            # One in doubt is closed: who has waited long enough must not wait as long again for that.
            with contextlib.suppress(TimeoutError):
                await pool.release(connection, timeout=_GIVE_UP_SECONDS)

    @asynccontextmanager
    async def transaction(self, *settings: str, urgent: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction; `settings` are SQL commands that begin it.

        Raises the driver's own errors.
        """
        async with self._lent(urgent) as connection:
            await connection.execute("; ".join([_BEGIN, *self._local_settings(), *settings]))
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                await _roll_back(connection, _GIVE_UP_SECONDS)
                raise
            except BaseException:
                await _roll_back(connection)
                raise
            await connection.execute("COMMIT")

    async def fetch(self, sql: str, *arguments: Any, urgent: bool = False) -> list[asyncpg.Record]:
        """Run one statement. Raises StoreUnavailable."""
        with translated():
            async with self.connection(urgent) as connection:
                return await connection.fetch(sql, *arguments)

    async def fetch_row(self, sql: str, *arguments: Any, urgent: bool = False) -> asyncpg.Record | None:
        """Run one statement and return its first row. Raises StoreUnavailable."""
        rows = await self.fetch(sql, *arguments, urgent=urgent)
        return rows[0] if rows else None

    @asynccontextmanager
    async def connection(
        self, urgent: bool = False, settings: Sequence[str] = ()
    ) -> AsyncIterator[Connection]:
        """Lend a connection for single statements; raises the driver's own errors.

        With `settings` they run in a transaction. A pooler may lead every step of a statement elsewhere,
        unless a transaction holds them together.
        """
        in_transaction = self._address.pooled or bool(settings)
        source = self.transaction(*settings, urgent=urgent) if in_transaction else self._lent(urgent)
        async with source as connection:
            yield connection

    def _local_settings(self) -> list[str]:
        """A pooler forgets a session's settings, so there they are made in every transaction."""
        if not self._address.pooled:
            return []
        milliseconds = int(self._address.command_timeout_seconds * 1000)
        settings = self._address.session_settings() | {
            "statement_timeout": str(milliseconds),
            "idle_in_transaction_session_timeout": str(milliseconds),
        }
        return [f"SET LOCAL {name} = '{text}'" for name, text in settings.items()]


async def _roll_back(connection: Connection, timeout_seconds: float | None = None) -> None:
    """Leave the transaction; the caller's own error says why, so a fault on the way out adds nothing."""
    try:
        await connection.execute("ROLLBACK", timeout=timeout_seconds)
    except DRIVER_ERRORS:
        # A connection in doubt must not be lent again; one that was lost is not ours any more.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()


def _now() -> float:
    return asyncio.get_running_loop().time()
