"""Lines, in which pending tasks wait for their queue or their key."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from podling.core.task import Task
from podling.store.ports.lines import Depths, Lines, Start
from podling.store.postgres.errors import translated
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import read_task
from podling.store.postgres.specs import SpecCache

_SQL = load("lines")


class LineTable(Lines):
    """See the port."""

    def __init__(self, pool: Pool, guard: LeaderGuard, specs: SpecCache) -> None:
        self._pool = pool
        self._guard = guard
        self._specs = specs

    async def set_aside(self, lines: Mapping[str, str], epoch: int) -> None:
        await self._as_leader(epoch, _SQL.set_aside, list(lines), list(lines.values()))

    async def recall(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        rows = await self._as_leader(epoch, _SQL.recall, list(rooms), list(rooms.values()))
        return {row["line"]: row["tasks"] for row in rows}

    async def _as_leader(self, epoch: int, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                return list(await connection.fetch(sql, *arguments))

    async def heads(self, rooms: Mapping[str, int]) -> Sequence[Task]:
        return [task for _, task in await self._tasks(_SQL.heads, list(rooms), list(rooms.values()))]

    async def firsts(self, after: str, limit: int) -> Mapping[str, Task]:
        return {row["line"]: task for row, task in await self._tasks(_SQL.firsts, after, limit)}

    async def _tasks(self, sql: str, *arguments: Any) -> list[tuple[asyncpg.Record, Task]]:
        with translated():
            async with self._pool.connection() as connection:
                rows = await connection.fetch(sql, *arguments)
                specs = await self._specs.find(connection, (row["task_id"] for row in rows))
        return [(row, read_task(row, specs[row["task_id"]])) for row in rows]

    async def place(self, task_id: str, limit: int) -> tuple[str, int] | None:
        row = await self._pool.fetch_row(_SQL.place, task_id, limit)
        return None if row is None else (row["line"], row["ahead"])

    async def depths(self, limit: int) -> Depths:
        queues: Counter[str] = Counter()
        whole = True
        for row in await self._pool.fetch(_SQL.depths, limit):
            queues[row["queue"]] += row["tasks"]
            whole &= row["of_kind"] < limit
        return Depths(queues=queues, whole=whole)

    async def starts(self, queues: Sequence[str] | None, seconds: float) -> Sequence[Start]:
        rows = await self._pool.fetch(_SQL.starts, seconds, None if queues is None else list(queues))
        return [Start(**row) for row in rows]
