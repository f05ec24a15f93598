"""What a doctor wants to know of the database. Read only, and without a lock that anybody waits for."""

from datetime import datetime, timedelta

import asyncpg

from podling.core.facts import (
    LATELY,
    MOST_BLOCKED_ROWS,
    MOST_BLOCKED_SHAPES,
    MOST_COUNTED_FAILED,
    MOST_COUNTED_READY,
    MOST_PRIORITIES,
    DatabaseFacts,
    OpenTransaction,
    StoreFacts,
    TableFacts,
    WaitingTasks,
)
from podling.store.postgres.migrations import shipped
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load

HOT_TABLES = (
    "attempts",
    "changes",
    "leadership",
    "live_tasks",
    "log_tails",
    "masters",
    "node_beats",
    "node_records",
)
# Only an index that is walked in its order is left when the limit is reached.
SETTINGS = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL enable_bitmapscan = off",
    "SET LOCAL enable_sort = off",
)
_MOST_NAMED = 20
_MOST_SHAPES = 200  # that are looked at for the oldest of them
_SQL = load("diagnosis")


async def diagnose(
    pool: Pool, pool_size: int, now: datetime, open_for: timedelta = timedelta(minutes=1)
) -> StoreFacts:
    """See `Store.diagnose`. Transactions are told from the age of `open_for`. Raises the driver's errors."""
    async with pool.transaction(*SETTINGS) as connection:
        database = await _database(connection, pool_size, open_for)  # first: its clock is compared with ours
        ready = await connection.fetchrow(_SQL.ready, MOST_COUNTED_READY, MOST_PRIORITIES)
        blocked = await connection.fetch(_SQL.blocked, MOST_BLOCKED_SHAPES, _MOST_SHAPES, MOST_BLOCKED_ROWS)
        failed = await connection.fetchval(_SQL.failed, now - LATELY, MOST_COUNTED_FAILED)
    return StoreFacts(
        kind="postgres",
        ready=None if ready is None else _waiting(ready),
        blocked={row["shape"]: _waiting(row) for row in blocked},
        failed_lately=failed,
        database=database,
    )


def _waiting(row: asyncpg.Record) -> WaitingTasks:
    return WaitingTasks(tasks=row["tasks"], task_id=row["task_id"], since=row["run_at"])


async def _database(connection: Connection, pool_size: int, open_for: timedelta) -> DatabaseFacts:
    server = await connection.fetchrow(_SQL.server)
    sessions = await connection.fetchrow(_SQL.sessions)
    assert server is not None and sessions is not None
    return DatabaseFacts(
        now=server["now"],
        version=server["version"],
        version_name=server["version_name"],
        schema_version=server["schema_version"],
        known_schema_version=shipped()[-1].version,
        settings={row["name"]: row["setting"] for row in await connection.fetch(_SQL.settings)},
        connections=sessions["connections"],
        pool_size=pool_size,
        hidden_sessions=sessions["hidden"],
        transactions=await open_transactions(connection, open_for, _MOST_NAMED),
        prepared=tuple(row["gid"] for row in await connection.fetch(_SQL.prepared, open_for)),
        idle_slots=tuple(row["slot_name"] for row in await connection.fetch(_SQL.idle_slots)),
        tables=tuple(TableFacts(**row) for row in await connection.fetch(_SQL.tables, list(HOT_TABLES))),
        total_bytes=server["total_bytes"],
    )


async def open_transactions(
    connection: Connection, open_for: timedelta, limit: int
) -> tuple[OpenTransaction, ...]:
    """Return the transactions of programs that have been open for so long, oldest first.

    The server's own work, such as autovacuum's, is none of them: ending it would help nobody.
    """
    return tuple(map(_transaction, await connection.fetch(_SQL.transactions, open_for, limit)))


def _transaction(row: asyncpg.Record) -> OpenTransaction:
    return OpenTransaction(
        process_id=row["pid"],
        login=row["login"],
        application=row["application"] or "",
        state=row["state"] or "unknown",
        seconds=row["seconds"],
        holds_back_vacuum=row["holds_back"],
    )
