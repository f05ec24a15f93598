"""The store on PostgreSQL 12 to 18."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from podling.core.facts import ReplicaFacts, StoreFacts
from podling.core.task import Task
from podling.store.base import Snapshot, ignore
from podling.store.ports.alerts import Alerts
from podling.store.ports.audit import Audit
from podling.store.ports.coordination import Coordination
from podling.store.ports.dead_letters import DeadLetters
from podling.store.ports.decisions import Decisions
from podling.store.ports.dependencies import Dependencies
from podling.store.ports.inbox import Inbox
from podling.store.ports.lines import Lines
from podling.store.ports.queues import Queues
from podling.store.ports.schedules import Schedules
from podling.store.ports.submit_counts import SubmitCounts
from podling.store.ports.task_keys import TaskKeys
from podling.store.ports.tokens import Tokens
from podling.store.ports.workflows import Workflows
from podling.store.postgres import diagnosis, maintenance
from podling.store.postgres.alerts import AlertTables
from podling.store.postgres.audit import AuditTable
from podling.store.postgres.commit import Committer
from podling.store.postgres.coordination import PostgresCoordination
from podling.store.postgres.coordination.runner import StoreRunner
from podling.store.postgres.dead_letters import DeadLetterTable
from podling.store.postgres.decisions import DecisionTable
from podling.store.postgres.dependencies import DependencyTable
from podling.store.postgres.errors import translated, translated_at_open
from podling.store.postgres.hints import Listener, Notifier
from podling.store.postgres.inbox import InboxTable
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.lines import LineTable
from podling.store.postgres.logs import Logs
from podling.store.postgres.masters import Masters
from podling.store.postgres.migrations import migrate
from podling.store.postgres.nodes import Nodes, read_nodes
from podling.store.postgres.pool import CONNECTION_SECONDS, IDLE_SECONDS, Address, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.queues import QueueTable
from podling.store.postgres.replica import Replica
from podling.store.postgres.schedules import ScheduleTables
from podling.store.postgres.specs import SpecCache
from podling.store.postgres.submit_counts import SubmitCountTable
from podling.store.postgres.task_keys import TaskKeyTable
from podling.store.postgres.tasks import Tasks
from podling.store.postgres.tokens import TokenTable
from podling.store.postgres.workflows import WorkflowTable

_DIAGNOSIS = load("diagnosis")
_TASKS = load("tasks")
_NODES = load("nodes")
_SPECS_KEPT = 50_000


class PostgresStore(Tasks, Nodes, Masters, Logs):
    """A `Store` whose truth is a PostgreSQL database.

    `direct_dsn` leads to the server itself where `dsn` leads to a transaction pooler; hints travel
    on it. `read_dsn` leads to a standby for lists. No connection gets older than `connection_seconds`,
    or is unused for longer than `idle_seconds`. `leader_timeout_seconds` bounds a leader's waits inside
    a transaction: a quarter lease. `synchronous_commit` None is what the server says.
    """

    kind = "postgres"

    def __init__(
        self,
        dsn: str,
        *,
        direct_dsn: str | None = None,
        read_dsn: str | None = None,
        pool_size: int = 10,
        connection_seconds: float = CONNECTION_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        command_timeout_seconds: float = 10.0,
        leader_timeout_seconds: float = 3.0,
        synchronous_commit: str | None = None,
    ) -> None:
        pooled = direct_dsn is not None and direct_dsn != dsn
        address = Address(dsn, command_timeout_seconds, pooled, synchronous_commit)
        self._direct = Address(direct_dsn or dsn, command_timeout_seconds)
        self._pool_size = pool_size
        self._pool = Pool(
            address, pool_size, connection_seconds=connection_seconds, idle_seconds=idle_seconds
        )
        self.leader_timeout_seconds = leader_timeout_seconds
        self._replica = None if read_dsn is None else Replica(read_dsn, self._pool)
        self._guard = LeaderGuard(leader_timeout_seconds)
        self._committer = Committer(self._pool, self._guard)
        self._notifier = Notifier(self._direct)
        self.alerts: Alerts = AlertTables(self._pool, self._guard, self._notifier)
        self.schedules: Schedules = ScheduleTables(self._pool, self._guard, self._notifier)
        self._specs = SpecCache(_SPECS_KEPT)
        self.lines: Lines = LineTable(self._pool, self._guard, self._specs)
        self.inbox: Inbox = InboxTable(self._pool)
        self.tokens: Tokens = TokenTable(self._pool, self._notifier)
        self.audit: Audit = AuditTable(self._pool)
        self.decisions: Decisions = DecisionTable(self._pool)
        self.queues: Queues = QueueTable(self._pool, self._notifier)
        self.dead_letters: DeadLetters = DeadLetterTable(self._pool)
        self.dependencies: Dependencies = DependencyTable(self._pool, self._guard)
        self.coordination: Coordination = PostgresCoordination(StoreRunner(self._pool, self._direct))
        self.submit_counts: SubmitCounts = SubmitCountTable(self._pool)
        self.task_keys: TaskKeys = TaskKeyTable(self._pool)
        self.workflows: Workflows = WorkflowTable(self._pool)

    @property
    def replica(self) -> ReplicaFacts | None:
        """What is known of the standby that lists are read from."""
        return None if self._replica is None else self._replica.facts

    async def open(self) -> None:
        """See `Store.open`."""
        self._pool.address.check()
        self._direct.check()
        if self._replica is not None:
            self._replica.check()
        try:
            with translated_at_open(self._pool.address.where):
                await self._pool.open()
                await migrate(self._pool)
                await maintenance.make_partitions(self._pool)
        except BaseException:
            await self._pool.close()
            raise
        self._notifier.start()
        if self._replica is not None:
            await self._replica.start()

    async def close(self) -> None:
        if self._replica is not None:
            await self._replica.stop()
        await self.coordination.close()
        await self._notifier.stop()
        await self._pool.close()

    async def ping(self) -> None:
        """See `Store.ping`. A standby that takes no writes does not count."""
        with translated():
            async with self._pool.transaction() as connection:
                await connection.execute("SELECT txid_current()")

    async def diagnose(self, now: datetime) -> StoreFacts:
        with translated():
            facts = await diagnosis.diagnose(self._pool, self._pool_size, now)
        if self._replica is None or facts.database is None:
            return facts
        await self._replica.look()
        return replace(facts, database=replace(facts.database, replica=self._replica.facts))

    async def suspects(self, scheduled_before: datetime, limit: int) -> Sequence[Task]:
        return await self._read(_DIAGNOSIS.suspects, scheduled_before, limit)

    async def snapshot(self) -> Snapshot:
        with translated():
            begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
            async with self._pool.transaction(begin) as connection:
                cursors = await connection.fetch(_TASKS.cursors)
                nodes = await connection.fetch(_NODES.load, None)
                live = await self._with_specs(connection, await connection.fetch(_TASKS.live))
                counts = await self._count(connection)
        return Snapshot(
            nodes=tuple(read_nodes(nodes)),
            live_tasks=tuple(live),
            cursors={row["master_id"]: row["number"] for row in cursors},
            counts=counts,
        )

    async def listen(
        self,
        on_hint: Callable[[], None],
        on_call: Callable[[], None] = ignore,
        on_inbox: Callable[[], None] = ignore,
    ) -> None:
        """Call `on_hint` whenever other masters may have committed. Runs until it is cancelled.

        See `Store.listen`. All are called once after each connection, too: whoever listens then looks
        what has changed.
        """
        await Listener(self._direct).run(on_hint, on_call, on_inbox)

    async def maintain(
        self, keep_ended: timedelta | None = None, seconds: float = 20.0
    ) -> maintenance.TablesMaintained:
        """Make coming partitions, remove old changes and keys, and tasks ended longer ago than `keep_ended`.

        See `Store.maintain`.
        """
        await self.coordination.forget()
        with translated():
            return await maintenance.maintain(self._pool, keep_ended, seconds)
