"""Statements, in the process that has the connections; one handler for each database (see `python_host`).

A statement runs in a transaction that is committed once it has been done: of one whose worker or
connection is lost before that, the server keeps nothing. One that cannot run so, as VACUUM, runs alone.
"""

import asyncio
import logging
import os
import re
import resource
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import orjson

from podling.core.retry import ErrorCode
from podling.handlers import Context, handler
from podling.kit.keepalive import keep_alive
from podling.worker.runtime.sql import DATABASES
from podling.worker.runtime.sql_errors import (
    StatementFailed,
    failure_of,
    is_lost,
    told,
    unknown_outcome,
    wants_no_transaction,
)
from podling.worker.runtime.sql_home import Home, announce, find_home
from podling.worker.runtime.sql_values import arguments_of, learn, names_of, prepare_connection, row_json

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Prepared: TypeAlias = asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]
    _Base = asyncpg.Connection[asyncpg.Record]
else:  # generic in its stubs alone
    _Base = asyncpg.Connection

MOST_ROWS = 1000
MOST_ROW_BYTES = 64 * 1024
"""Of a result; what comes after is counted where it is, and not fetched."""
MOST_RESULT_BYTES = 16 * 1024
"""Of the rows in a task's result, which lies with its state."""
MOST_MEMORY_BYTES = 1 << 29
"""Of this process: a value larger than that ends what runs in it, and not the machine."""

CONNECT_SECONDS = 10.0
PROMPT_SECONDS = 10.0  # for what a server does at once
COMMIT_SECONDS = 60.0
GIVE_UP_SECONDS = 2.0
IDLE_SECONDS = 60.0
_STEP_ROWS = 20
_ALL_ROWS = 2**31 - 1
_SETTINGS = {
    "application_name": "podling",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60s",
}
_NOTICE_CLIENT_GONE = """
    SELECT set_config(name, '2s', true) FROM pg_settings WHERE name = 'client_connection_check_interval'
"""

_T = TypeVar("_T")
_IDS = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)
_log = logging.getLogger(__name__)


class _Connection(_Base):
    """`home` is what commits an end with its work; only Podling's own database has it."""

    home: Home | None = None

    def get_reset_query(self) -> str:
        """What a statement did to its session ends with it."""
        return "DISCARD ALL"


@dataclass(frozen=True)
class Order:
    """One statement, whose it is, and the time until which it may run."""

    statement: str
    parameters: Sequence[Any]
    until: datetime | None
    cluster_id: str
    task_id: str
    attempt: int

    @property
    def literals(self) -> str:
        """Whose it is, in SQL; ids are words, and nothing else is let through."""
        if not _IDS.fullmatch(f"{self.cluster_id}{self.task_id}"):
            raise StatementFailed(ErrorCode.RUNTIME, "its id is none that Podling gives")
        return f"'{self.cluster_id}', '{self.task_id}', {self.attempt:d}"

    @property
    def is_late(self) -> bool:
        return self.until is not None and datetime.now(UTC) >= self.until

    @property
    def milliseconds(self) -> int:
        """How long the server may take; 0 is for ever, so time that is up is the least there is."""
        if self.until is None:
            return 0
        left = (self.until - datetime.now(UTC)).total_seconds()
        return min(max(int(left * 1000), 1), 2**31 - 1)


@dataclass(frozen=True)
class Outcome:
    """`rows` are the first of them, as JSON; `tag` is what the server says of a statement without any."""

    tag: str | None = None
    rows: Sequence[bytes] = ()
    row_count: int | None = None

    def tell(self) -> None:
        """Write it to the task's log: rows to stdout, and to stderr if there were more."""
        if self.tag is not None:
            sys.stdout.write(f"{self.tag}\n")
            return
        sys.stdout.buffer.write(b"".join(row + b"\n" for row in self.rows))
        if len(self.rows) != self.row_count:
            sys.stderr.write(f"{self.row_count} rows, of which the first {len(self.rows)} are kept\n")

    @property
    def result(self) -> bytes:
        """Return what others can read of it: how many rows, and as many of the first ones as are little."""
        few, left = [], MOST_RESULT_BYTES
        for row in self.rows:
            left -= len(row) + 1
            if left < 0:
                break
            few.append(row)
        rows = b"" if self.tag is not None else b',"rows":[' + b",".join(few) + b"]"
        return b'{"rowCount":' + orjson.dumps(self.row_count) + rows + b"}"


class Rows:
    """Those that are kept, and how many there were."""

    def __init__(self, attributes: Sequence[asyncpg.Attribute]) -> None:
        self.names = names_of(attributes)
        self.count = 0
        self.is_full = False
        self._kept: list[bytes] = []
        self._bytes_left = MOST_ROW_BYTES

    def take(self, records: Sequence[asyncpg.Record]) -> None:
        self.count += len(records)
        for record in records:
            row = b"" if self.is_full else row_json(self.names, record)
            self._bytes_left -= len(row)
            self.is_full = self.is_full or self._bytes_left < 0 or len(self._kept) == MOST_ROWS
            if self.is_full:
                return
            self._kept.append(row)

    def outcome(self, tag: str | None) -> Outcome:
        """Return what has come of the statement. Raises StatementFailed if there was none."""
        if self.names:
            return Outcome(rows=self._kept, row_count=self.count)
        if tag is None:
            raise StatementFailed(ErrorCode.BAD_STATEMENT, "there is no statement in it")
        number = tag.rpartition(" ")[2]
        return Outcome(tag, row_count=int(number) if number.isdecimal() else None)


class Database:
    """One database as one login, on `connections` at most."""

    def __init__(self, url: str, connections: int, cluster_id: str) -> None:
        self._url = url
        self._cluster_id = cluster_id
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def run(self, order: Mapping[str, Any], context: Context) -> None:
        """Run the statement of a task, and write what comes of it to its log. Raises StatementFailed."""
        whose = (self._cluster_id, context.task_id, context.attempt)
        wanted = Order(order["statement"], order["parameters"], context.deadline, *whose)
        try:
            async with self._connection() as connection:
                with _noticing(connection):
                    outcome, is_told = await _done(connection, wanted)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this attempt
            if isinstance(error, asyncpg.PostgresError):
                sys.stderr.write(told(error))
            raise failure_of(error, wanted.is_late) from None
        outcome.tell()
        if not is_told:
            await _to_its_end(asyncio.to_thread(announce, context.environment, outcome.result))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["Connection"]:
        if self._pool is None:
            self._pool = self._make_pool()
        pool = await self._pool  # makes it at the first time
        connection = await pool.acquire(timeout=CONNECT_SECONDS + PROMPT_SECONDS)
        try:
            yield connection
        finally:
            await _give_back(pool, connection)

    def _make_pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        return asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            connection_class=_Connection,
            init=partial(_begin, self._cluster_id),
            timeout=CONNECT_SECONDS,
            statement_cache_size=0,  # nothing is left of a statement
            server_settings=_SETTINGS,
        )


async def _give_back(pool: "asyncpg.Pool[asyncpg.Record]", connection: "Connection") -> None:
    """Give it back clean, or end it: its end is no fault of the statement, which has been done or not."""
    try:
        await pool.release(connection, timeout=GIVE_UP_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        _log.info("a connection was given up: %s", error)


async def _begin(cluster_id: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    transport = getattr(connection, "_transport", None)  # which the driver shows in no other way
    keep_alive(transport.get_extra_info("socket") if transport is not None else None)
    await prepare_connection(connection)
    assert isinstance(connection, _Connection)
    connection.home = await find_home(connection, cluster_id, PROMPT_SECONDS)


@contextmanager
def _noticing(connection: "Connection") -> Iterator[None]:
    """Have what the server tells meanwhile in the task's log; the driver calls from anywhere."""
    ours = copy_context()

    def listen(_: Any, message: Any) -> None:
        ours.run(sys.stderr.write, told(message))

    connection.add_log_listener(listen)
    try:
        yield
    finally:
        connection.remove_log_listener(listen)


async def _done(connection: "Connection", order: Order) -> tuple[Outcome, bool]:
    """Run it; return what has come of it, and whether its cluster knows that already."""
    try:
        return await _in_transaction(connection, order)
    except asyncpg.PostgresError as error:
        if not wants_no_transaction(error):
            raise
    return await _alone(connection, order), False


async def _in_transaction(connection: "Connection", order: Order) -> tuple[Outcome, bool]:
    begin = f"BEGIN; SET LOCAL statement_timeout = {order.milliseconds}; {_NOTICE_CLIENT_GONE}"
    try:
        await connection.execute(begin, timeout=PROMPT_SECONDS)
        outcome = await _execute(connection, order)
        if not connection.is_in_transaction():
            raise StatementFailed(ErrorCode.BAD_STATEMENT, "it must not end its transaction")
        is_told = await _commit(connection, order, outcome)
    except BaseException:
        await _roll_back(connection)
        raise
    return outcome, is_told


async def _to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what comes of it, whoever cancels this meanwhile: what was done is done."""
    doing = asyncio.ensure_future(work)
    while not doing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({doing})
    return doing.result()


async def _roll_back(connection: "Connection") -> None:
    """End what was begun; a server that does not answer is left, and does the same by itself."""
    if connection.is_closed() or not connection.is_in_transaction():
        return
    try:
        await connection.execute("ROLLBACK", timeout=GIVE_UP_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


async def _commit(connection: "Connection", order: Order, outcome: Outcome) -> bool:
    """Commit, at home together with the end and the result, and hear of it: it is too late to be cancelled.

    Return whether the result was committed, too.

    Both in one message, since the end locks the task's row, for which masters would wait.
    """
    home: Home | None = connection.home  # type: ignore[attr-defined]
    end = "" if home is None else f"{home.call(order.literals, outcome.result)}; "
    try:
        tag = await _to_its_end(connection.execute(f"{end}COMMIT", timeout=COMMIT_SECONDS))
    except Exception as error:
        if is_lost(error):
            raise unknown_outcome(error) from None
        raise
    if tag != "COMMIT":
        raise StatementFailed(ErrorCode.UNKNOWN, f"the server answered {tag} instead of COMMIT")
    return home is not None and home.takes_result


async def _alone(connection: "Connection", order: Order) -> Outcome:
    """Run what is a transaction of its own, or several; what is done of it stays, whoever goes."""
    await connection.execute(f"SET statement_timeout = {order.milliseconds}", timeout=PROMPT_SECONDS)
    prepared, arguments = await _prepared(connection, order)
    try:
        records = await prepared.fetch(*arguments)
    except Exception as error:
        if is_lost(error):
            raise unknown_outcome(error) from None
        raise
    rows = Rows(prepared.get_attributes())
    rows.take(records)
    return rows.outcome(prepared.get_statusmsg())


async def _execute(connection: "Connection", order: Order) -> Outcome:
    """Fetch the rows that are kept; the server runs through the rest, so that all is done, and counts it."""
    prepared, arguments = await _prepared(connection, order)
    rows = Rows(prepared.get_attributes())
    if not rows.names:
        await prepared.fetch(*arguments)
        return rows.outcome(prepared.get_statusmsg())
    cursor = await prepared.cursor(*arguments)
    while records := await cursor.fetch(_STEP_ROWS):
        rows.take(records)
        if rows.is_full:
            rows.count += await cursor.forward(_ALL_ROWS)
            break
    return rows.outcome(None)


async def _prepared(connection: "Connection", order: Order) -> tuple["Prepared", Sequence[Any]]:
    prepared = await connection.prepare(order.statement)
    if await learn(connection, prepared.get_parameters()):
        prepared = await connection.prepare(order.statement)
    return prepared, arguments_of(prepared.get_parameters(), order.parameters)


def _register() -> None:
    settings = orjson.loads(os.environ.pop(DATABASES))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    for name, url in settings["databases"].items():
        database = Database(url, settings["connections"], settings["cluster"])
        handler(name, concurrency=settings["connections"])(database.run)


if DATABASES in os.environ:
    _register()
