"""The tables of coordination, for a program without a master of its own."""

import asyncio

import asyncpg

from podling.core.errors import ConfigurationError
from podling.store.postgres.errors import translated
from podling.store.postgres.migrations import shipped
from podling.store.postgres.pool import Connection

_NAME = "coordination"
_TABLES = (
    "podling_locks",
    "podling_lock_waiters",
    "podling_breakers",
    "podling_cache",
    "podling_checkpoint_heads",
    "podling_checkpoints",
    "podling_idempotency",
)
_MISSING = "SELECT name FROM unnest($1::text[]) AS wanted (name) WHERE to_regclass(name) IS NULL"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('podling coordination'))"


async def prepare(pool: "asyncpg.Pool[asyncpg.Record]", create_tables: bool, timeout_seconds: float) -> None:
    """Make the tables if they are missing.

    Raises ConfigurationError if they may not be made, StoreUnavailable.
    """
    with translated():
        async with asyncio.timeout(timeout_seconds), pool.acquire() as connection:
            if not (missing := await _missing(connection)):
                return
            if not create_tables:
                raise ConfigurationError(
                    f"the tables {', '.join(missing)} are missing, and create_tables is off: "
                    "connect once with it, or run podling db install"
                )
            await _create(connection)


async def _missing(connection: Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch(_MISSING, list(_TABLES))]


async def _create(connection: Connection) -> None:
    """Make what is missing; who comes at the same time waits, and finds it made."""
    sql = next(migration.sql for migration in shipped() if migration.name == _NAME)
    try:
        async with connection.transaction():
            await connection.execute(_LOCK)
            await connection.execute(sql)
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            "this login may not create the tables of podling.coordination: have its owner run podling db "
            "install, or GRANT CREATE ON SCHEMA to the login"
        ) from None
