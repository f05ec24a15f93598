"""Coordination in the database of a pool that the caller has."""

from functools import partial

import asyncpg

from podling.coordination.coordination import Coordination
from podling.core.coordination_rules import DEFAULT_LOCK_SECONDS
from podling.store.postgres.coordination import PostgresCoordination
from podling.store.postgres.coordination.runner import LentPool
from podling.store.postgres.coordination.tables import prepare

TIMEOUT_SECONDS = 30.0


def over_pool(
    pool: "asyncpg.Pool[asyncpg.Record]",
    *,
    prefix: str = "",
    lock_seconds: float = DEFAULT_LOCK_SECONDS,
    create_tables: bool = True,
    listen_dsn: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Coordination:
    """Return coordination over the pool, which stays the caller's to close.

    Every key begins with `prefix` in the tables. A lock lives for `lock_seconds` unless it says otherwise.
    The tables are made by `connect` if they are missing, or it raises ConfigurationError if they are not
    to be. They are a master's own, so that programs and a master on one database share them. While somebody
    waits for a lock, or watches a breaker, one connection of the pool listens; with `listen_dsn` it is one
    beside the pool. No statement takes longer than `timeout_seconds`, waiting for the pool included.
    """
    return Coordination(
        PostgresCoordination(LentPool(pool, timeout_seconds, listen_dsn)),
        prefix=prefix,
        lock_seconds=lock_seconds,
        prepare=partial(prepare, pool, create_tables, timeout_seconds),
    )
