"""Schedules and their fires."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import asyncpg

from podling.core.schedule import Fire, FireWrite, Outcome, Schedule, ScheduleEntry, ScheduleState
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
from podling.store.ports.schedules import FireQuery, Revision, Schedules
from podling.store.postgres.errors import translated
from podling.store.postgres.hints import Notifier
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.maintenance import deletions, forget
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import Row, from_json, rows_to_json, to_json

_SQL = load("schedules")


class ScheduleTables(Schedules):
    """See the port."""

    def __init__(self, pool: Pool, guard: LeaderGuard, notifier: Notifier) -> None:
        self._pool = pool
        self._guard = guard
        self._notifier = notifier

    async def add(self, schedule: Schedule, cursor: datetime) -> Schedule | None:
        row = await self._pool.fetch_row(
            _SQL.add, schedule.schedule_id, schedule.name, schedule.created_at, to_json(schedule), cursor
        )
        return self._changed(schedule, row)

    async def change(self, schedule: Schedule, cursor: datetime | None) -> Schedule | None:
        with translated():
            async with self._pool.connection() as connection:
                with suppress(asyncpg.UniqueViolationError):  # the name is another one's
                    row = await connection.fetchrow(
                        _SQL.change,
                        schedule.schedule_id,
                        schedule.version,
                        to_json(schedule),
                        cursor,
                        schedule.name,
                    )
                    return self._changed(schedule, row)
        return None

    def _changed(self, schedule: Schedule, row: asyncpg.Record | None) -> Schedule | None:
        if row is None:
            return None
        self._notifier.call()
        return replace(schedule, version=row["version"])

    async def remove(self, schedule_id: str) -> bool:
        removed = await self._pool.fetch_row(_SQL.remove, schedule_id) is not None
        self._notifier.call()
        return removed

    async def find(self, id_or_name: str) -> ScheduleEntry | None:
        row = await self._pool.fetch_row(_SQL.find, id_or_name)
        return None if row is None else _read_entry(row)

    async def load(
        self, after: tuple[datetime, str] | None = None, limit: int | None = None
    ) -> Sequence[ScheduleEntry]:
        at, schedule_id = after or (None, None)
        return [_read_entry(row) for row in await self._pool.fetch(_SQL.load, at, schedule_id, limit)]

    async def revision(self) -> Revision:
        row = await self._pool.fetch_row(_SQL.revision)
        assert row is not None
        return row["number"], row["total"]

    async def news(self, version: int) -> tuple[Revision, Sequence[ScheduleEntry]]:
        rows = await self._pool.fetch(_SQL.news, version)
        revision = rows[0]["number"], rows[0]["total"]
        return revision, [_read_entry(row) for row in rows if row["version"] is not None]

    async def versions(self) -> Mapping[str, int]:
        return {row["schedule_id"]: row["version"] for row in await self._pool.fetch(_SQL.versions)}

    async def record(self, writes: Sequence[FireWrite], epoch: int) -> Sequence[bool]:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                kept = await claim(connection, dict(enumerate(writes)))
        return [index in kept for index in range(len(writes))]

    async def set_cursor(self, schedule_ids: Sequence[str], cursor: datetime, epoch: int) -> None:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                await connection.execute(_SQL.set_cursor, list(schedule_ids), cursor)

    async def fires(self, query: FireQuery) -> Sequence[Fire]:
        at, manual = query.after or (None, None)
        rows = await self._pool.fetch(_SQL.fires, query.schedule_id, query.outcome, at, manual, query.limit)
        return [Fire(**(dict(row) | {"outcome": Outcome(row["outcome"])})) for row in rows]

    async def prune(self, before: datetime, most: int, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        return await forget(
            seconds,
            deletions(self._pool, _SQL.prune_old, before),
            deletions(self._pool, _SQL.prune_many, most),
        )


async def claim(connection: Connection, writes: dict[int, FireWrite]) -> frozenset[int]:
    """Keep decisions in the connection's transaction; return the places of those that hold."""
    rows = [_row(position, write) for position, write in writes.items()]
    ids = sorted({write.fire.schedule_id for write in writes.values()})
    found = await connection.fetch(_SQL.claim, rows_to_json(rows), ids)
    return frozenset(row["position"] for row in found)


def _row(position: int, write: FireWrite) -> Row:
    fire = write.fire
    return {
        "position": position,
        "schedule_id": fire.schedule_id,
        "fire_time": fire.fire_time,
        "manual": fire.manual,
        "outcome": fire.outcome,
        "at": fire.at,
        "task_id": fire.task_id,
        "message": fire.message,
        "count": fire.count,
        "version": write.version,
        "after": write.after,
        "alone": write.alone,
        "previous": write.previous,
    }


def _read_entry(row: asyncpg.Record) -> ScheduleEntry:
    schedule = replace(from_json(Schedule, row["body"]), version=row["version"])
    last = None if row["last"] is None else from_json(Fire, row["last"])
    state = ScheduleState(cursor=row["cursor"], last_task_id=row["last_task_id"], last=last)
    return ScheduleEntry(schedule=schedule, state=state)
