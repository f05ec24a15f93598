"""Tasks: committed, looked up, listed, and put in or out of the ready order."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from podling.core.task import Attempt, Task, TaskEvent, TaskStatus
from podling.store.base import (
    Batch,
    ChangeBatch,
    Overdue,
    OverdueKind,
    PendingCounts,
    TaskQuery,
    WriteResult,
    WriteStatus,
)
from podling.store.postgres.change_rows import read_batch
from podling.store.postgres.commit import Committer
from podling.store.postgres.errors import translated
from podling.store.postgres.hints import Notifier
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.lists import list_of
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.replica import Replica
from podling.store.postgres.rows import event_row, read_all, read_task, to_json
from podling.store.postgres.specs import SpecCache

_SQL = load("tasks")
# Ended tasks are counted up to here; more would read all of history.
_MAX_COUNT = 10_000
_MAX_PENDING = 100_000  # of those that are ready, blocked, or not due yet


class Tasks:
    """The part of the store about tasks; see `Store` for what each method means."""

    _pool: Pool
    _replica: Replica | None
    _guard: LeaderGuard
    _committer: Committer
    _notifier: Notifier
    _specs: SpecCache

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        results = await self._committer.commit(batch)
        applied = [
            write.task
            for write, result in zip(batch.tasks, results, strict=True)
            if result.status is WriteStatus.APPLIED
        ]
        self._specs.keep(applied)
        if applied or batch.nodes:
            self._notifier.hint()
        return results

    async def load_tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        tasks = await self._read(_SQL.load, list(task_ids))
        return {task.task_id: task for task in tasks}

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        listing = list_of(query)

        async def ask(pool: Pool) -> list[Task]:
            return await self._read_from(pool, listing.sql, *listing.arguments, settings=listing.settings)

        if self._replica is None or query.fresh:
            return await ask(self._pool)
        return await self._replica.read(ask)

    async def load_attempts(
        self, task_id: str, after: int = 0, limit: int | None = None
    ) -> Sequence[Attempt]:
        rows = await self._pool.fetch(_SQL.attempts, task_id, after, limit)
        return read_all(Attempt, (row["body"] for row in rows))

    async def load_events(self, task_id: str) -> Sequence[TaskEvent]:
        rows = await self._pool.fetch(_SQL.events, task_id)
        return read_all(TaskEvent, (row["body"] for row in rows))

    async def find_events(self, task_ids: Sequence[str], type_: str) -> Sequence[TaskEvent]:
        rows = await self._pool.fetch(_SQL.events_of_type, list(task_ids), type_)
        return read_all(TaskEvent, (row["body"] for row in rows))

    async def add_events(self, events: Sequence[TaskEvent]) -> None:
        if events:
            await self._pool.fetch(_SQL.add_events, to_json([event_row(event) for event in events]))

    async def ready_page(self, limit: int, skip_task_ids: Sequence[str] = ()) -> Sequence[Task]:
        return await self._read(_SQL.ready, limit, list(skip_task_ids))

    async def ready_ahead_of(self, task: Task, limit: int) -> int:
        position = (-task.spec.priority, task.run_at, task.created_at, task.task_id)
        row = await self._pool.fetch_row(_SQL.ready_ahead_of, *position, limit)
        return 0 if row is None else int(row["ahead"])

    async def promote(self, now: datetime, limit: int) -> int:
        row = await self._pool.fetch_row(_SQL.promote, now, limit)
        return 0 if row is None else int(row["promoted"])

    async def next_run_at(self) -> datetime | None:
        row = await self._pool.fetch_row(_SQL.next_run_at)
        return None if row is None else row["run_at"]

    async def block(self, task_ids: Sequence[str], epoch: int) -> None:
        async with self._as_leader(epoch) as connection:
            await connection.execute(_SQL.block, list(task_ids))

    async def unblock(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        async with self._as_leader(epoch) as connection:
            rows = await connection.fetch(_SQL.unblock, list(rooms), list(rooms.values()))
        return {row["shape"]: row["tasks"] for row in rows}

    async def blocked_shapes(self) -> Sequence[Task]:
        return await self._read(_SQL.blocked_shapes)

    async def overdue(
        self, now: datetime, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[Overdue]:
        rows = await self._pool.fetch(_SQL.overdue, now, limit, *(after or (None, None)))
        return [Overdue(at=row["at"], task_id=row["task_id"], kind=_overdue_kind(row)) for row in rows]

    async def next_overdue_at(self) -> datetime | None:
        row = await self._pool.fetch_row(_SQL.next_overdue_at)
        return None if row is None else row["at"]

    async def count_tasks(self) -> Mapping[TaskStatus, int]:
        with translated():
            async with self._pool.connection() as connection:
                return await self._count(connection)

    async def _count(self, connection: Connection) -> Mapping[TaskStatus, int]:
        rows = await connection.fetch(_SQL.count, _MAX_COUNT, _MAX_PENDING)
        counts = {TaskStatus(row["status"]): int(row["tasks"]) for row in rows}
        return {status: counts.get(status, 0) for status in TaskStatus}

    async def count_pending(self, limit: int) -> PendingCounts:
        row = await self._pool.fetch_row(_SQL.count_pending, limit)
        assert row is not None
        return PendingCounts(**row)

    async def changes_after(self, cursors: Mapping[str, int], limit: int) -> Sequence[ChangeBatch]:
        rows = await self._pool.fetch(_SQL.changes_after, list(cursors), list(cursors.values()), limit)
        return [read_batch(row["master_id"], row["number"], row["body"]) for row in rows]

    async def changes_kept(self) -> Mapping[str, tuple[int, int]]:
        rows = await self._pool.fetch(_SQL.changes_kept)
        return {row["master_id"]: (row["oldest"], row["newest"]) for row in rows}

    async def _read(self, sql: str, *arguments: object) -> list[Task]:
        return await self._read_from(self._pool, sql, *arguments)

    async def _read_from(
        self, pool: Pool, sql: str, *arguments: object, settings: Sequence[str] = ()
    ) -> list[Task]:
        with translated():
            async with pool.connection(settings=settings) as connection:
                return await self._with_specs(connection, await connection.fetch(sql, *arguments))

    async def _with_specs(self, connection: Connection, rows: Sequence[asyncpg.Record]) -> list[Task]:
        specs = await self._specs.find(connection, (row["task_id"] for row in rows))
        return [read_task(row, specs[row["task_id"]]) for row in rows]

    @asynccontextmanager
    async def _as_leader(self, epoch: int) -> AsyncIterator[Connection]:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                yield connection


def _overdue_kind(row: asyncpg.Record) -> OverdueKind:
    """Both may have passed; the one that passed first is told, the deadline if they are equal."""
    queue_timeout_at, deadline_at = row["queue_timeout_at"], row["deadline_at"]
    if deadline_at is None or (queue_timeout_at is not None and queue_timeout_at < deadline_at):
        return OverdueKind.QUEUE_TIMEOUT
    return OverdueKind.DEADLINE
