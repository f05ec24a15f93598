"""What `podling db install | verify | migrate` do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from podling.store.postgres import maintenance
from podling.store.postgres.errors import translated_at_open
from podling.store.postgres.migrations import migrate as apply_missing
from podling.store.postgres.migrations import shipped, situation
from podling.store.postgres.migrations import verify as find_missing
from podling.store.postgres.pool import Address, Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.script import broker_functions

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
    "workflows",
)
"""Every table and view that Podling owns, partitions left out."""

FUNCTIONS = (
    "podling_cancel(text)",
    "podling_check_spec(jsonb)",
    "podling_claim_key(text, text, jsonb)",
    "podling_end(text, text, bigint)",
    "podling_end(text, text, bigint, text)",
    "podling_new_id()",
    "podling_status(text)",
    "podling_submit(jsonb)",
    "podling_submit_many(jsonb)",
    "podling_time(timestamp with time zone)",
)
BROKER_FUNCTIONS = (
    "broker_add_job(text, text, integer, integer, text, text, text, text)",
    "broker_get(integer)",
    "broker_ping_instance(bigint)",
    "broker_register_instance(text, text, integer, text, integer)",
    "broker_run(text)",
    "broker_set(text, text)",
    "broker_shutdown_instance(bigint)",
)
"""Those under the names of pgsql-broker, all of them or none."""


@dataclass(frozen=True)
class SchemaReport:
    """What is there. `pending` are migrations not applied yet, `problems` sentences for a person.

    `version` is the newest that is applied, 0 for none.
    """

    server_version: str
    database: str
    schema: str
    version: int
    applied: tuple[str, ...]
    pending: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        return not self.pending and not self.problems


async def install(dsn: str, *, broker_names: bool = False) -> SchemaReport:
    """Make the schema, or bring it up to date; harmless if it is. Raises ConfigurationError.

    With `broker_names` its functions can be called by the names of pgsql-broker besides.
    """
    async with opened(dsn) as pool:
        await apply_missing(pool)
        await maintenance.make_partitions(pool)
        if broker_names:
            async with pool.transaction() as connection:
                await connection.execute(broker_functions())
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
        version=max((migration.version for migration in shipped() if migration not in pending), default=0),
        applied=tuple(migration.label for migration in shipped() if migration not in pending),
        pending=tuple(migration.label for migration in pending),
        problems=() if pending else await _problems(pool),
    )


async def _problems(pool: Pool) -> tuple[str, ...]:
    async with pool.connection() as connection:
        missing = [row["name"] for row in await connection.fetch(_SQL.missing_relations, list(RELATIONS))]
        functions = await _missing_functions(connection)
        broken = [row["name"] for row in await connection.fetch(_SQL.invalid_indexes, list(RELATIONS))]
    months = await maintenance.missing_partitions(pool)
    return (
        *(f"the relation {name} is missing: restore it from a backup" for name in missing),
        *(f"the function {name} is missing: {way}" for name, way in functions),
        *(f"the index {name} is not valid: run REINDEX INDEX {name}" for name in broken),
        *(f"the partition {name} is missing: run podling db install" for name in months),
    )


async def _missing_functions(connection: Connection) -> list[tuple[str, str]]:
    """Return those that are not there, each with the way out."""

    async def missing(signatures: tuple[str, ...]) -> list[str]:
        rows = await connection.fetch(_SQL.missing_functions, list(signatures))
        return [row["signature"] for row in rows]

    own, broker = await missing(FUNCTIONS), await missing(BROKER_FUNCTIONS)
    if len(broker) == len(BROKER_FUNCTIONS):
        broker = []  # nobody has asked for them
    return [
        *((name, "take it from podling db install --script") for name in own),
        *((name, "run podling db install --broker-names") for name in broker),
    ]
