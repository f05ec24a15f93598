"""What `podling db install | verify | migrate` do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from podling.store.postgres import maintenance
from podling.store.postgres.errors import translated_at_open
from podling.store.postgres.migrations import migrate as apply_missing
from podling.store.postgres.migrations import shipped, situation
from podling.store.postgres.migrations import verify as find_missing
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.queries import load

_SQL = load("migrations")
_TIMEOUT_SECONDS = 60.0

RELATIONS = (
    "alert_rules",
    "alerts",
    "all_tasks",
    "attempts",
    "audit",
    "changes",
    "cluster",
    "dead_letters",
    "decisions",
    "dependencies",
    "ended_tasks",
    "idempotency_keys",
    "inbox",
    "inbox_keys",
    "leadership",
    "live_tasks",
    "log_tails",
    "masters",
    "node_beats",
    "node_records",
    "nodes",
    "peer_messages",
    "podling_breakers",
    "podling_cache",
    "podling_checkpoint_heads",
    "podling_checkpoints",
    "podling_idempotency",
    "podling_lock_waiters",
    "podling_locks",
    "podling_migrations",
    "queues",
    "schedule_fires",
    "schedule_states",
    "schedules",
    "submit_counts",
    "task_events",
    "task_keys",
    "task_specs",
    "tasks",
    "tokens",
)
"""Every table and view that Podling owns, partitions left out."""


@dataclass(frozen=True)
class SchemaReport:
    """What is there. `pending` are migrations not applied yet, `problems` sentences for a person."""

    server_version: str
    database: str
    schema: str
    applied: tuple[str, ...]
    pending: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        return not self.pending and not self.problems


async def install(dsn: str) -> SchemaReport:
    """Make the schema, or bring it up to date; harmless if it is. Raises ConfigurationError."""
    async with opened(dsn) as pool:
        await apply_missing(pool)
        await maintenance.make_partitions(pool)
        return await _report(pool)


async def migrate(dsn: str) -> tuple[str, ...]:
    """Apply the migrations that are missing; return their names. Raises ConfigurationError."""
    async with opened(dsn) as pool:
        return tuple(migration.label for migration in await apply_missing(pool))


async def verify(dsn: str) -> SchemaReport:
    """Look without changing anything.

    Raises ConfigurationError for what no migration mends: a foreign or newer schema, a changed file.
    """
    async with opened(dsn) as pool:
        return await _report(pool)


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Pool]:
    """Give a small pool for one command. Raises ConfigurationError, StoreUnavailable."""
    address = Address(dsn, _TIMEOUT_SECONDS)
    address.check()
    pool = Pool(address, size=2)
    with translated_at_open(address.where):
        try:
            await pool.open()
            yield pool
        finally:
            await pool.close()


async def _report(pool: Pool) -> SchemaReport:
    pending = await find_missing(pool)
    async with pool.connection() as connection:
        facts = await situation(connection)
    return SchemaReport(
        server_version=facts["server_name"],
        database=facts["database"],
        schema=facts["schema"] or "",
        applied=tuple(migration.label for migration in shipped() if migration not in pending),
        pending=tuple(migration.label for migration in pending),
        problems=() if pending else await _problems(pool),
    )


async def _problems(pool: Pool) -> tuple[str, ...]:
    async with pool.connection() as connection:
        missing = [row["name"] for row in await connection.fetch(_SQL.missing_relations, list(RELATIONS))]
        broken = [row["name"] for row in await connection.fetch(_SQL.invalid_indexes, list(RELATIONS))]
    months = await maintenance.missing_partitions(pool)
    return (
        *(f"the relation {name} is missing: restore it from a backup" for name in missing),
        *(f"the index {name} is not valid: run REINDEX INDEX {name}" for name in broken),
        *(f"the partition {name} is missing: run podling db install" for name in months),
    )
