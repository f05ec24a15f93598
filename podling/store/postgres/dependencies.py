"""Which tasks wait for which: written by commits, read and noted by the leader."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from podling.core.graph import Links, ParentEnd
from podling.core.spec import When
from podling.core.task import Task
from podling.store.ports.dependencies import Dependencies
from podling.store.postgres.errors import translated
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load

_SQL = load("dependencies")


class DependencyTable(Dependencies):
    """See the port."""

    def __init__(self, pool: Pool, guard: LeaderGuard) -> None:
        self._pool = pool
        self._guard = guard

    async def note_ends(self, parent_ids: Sequence[str], limit: int, epoch: int) -> Sequence[str]:
        rows = await self._as_leader(epoch, _SQL.note_ends, list(parent_ids), limit)
        return [row["child_id"] for row in rows]

    async def note_ends_for(self, child_ids: Sequence[str], limit: int, epoch: int) -> int:
        (row,) = await self._as_leader(epoch, _SQL.note_ends_for, list(child_ids), limit)
        return int(row["noted"])

    async def _as_leader(self, epoch: int, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                return list(await connection.fetch(sql, *arguments))

    async def links(self, child_ids: Sequence[str]) -> Mapping[str, Sequence[Links]]:
        found: dict[str, list[Links]] = {}
        for row in await self._pool.fetch(_SQL.links, list(child_ids)):
            found.setdefault(row["child_id"], []).append(_read_links(row))
        return found

    async def waiting(self, after: str, limit: int) -> Sequence[str]:
        return [row["child_id"] for row in await self._pool.fetch(_SQL.waiting, after, limit)]


def _read_links(row: asyncpg.Record) -> Links:
    end = row["parent_end"]
    return Links(
        when=When(row["condition"]),
        end=None if end is None else ParentEnd(end),
        count=row["parents"],
        example=row["example"],
    )


async def link(
    connection: Connection, children: Mapping[int, Task], new_ids: frozenset[str]
) -> Mapping[int, str]:
    """Keep what new tasks wait for, in a commit's transaction; `new_ids` are made by the same one.

    Returns of those that depend on a task that is not there which that is, by their place. A parent that is
    live stays so until the commit is done, or it is found in history.
    """
    wanted = {each.task_id for task in children.values() for each in task.spec.depends_on} - new_ids
    ends = await _known(connection, sorted(wanted)) | dict.fromkeys(new_ids)
    missing, rows = {}, []
    for index, task in children.items():
        lacking = next((each.task_id for each in task.spec.depends_on if each.task_id not in ends), None)
        if lacking is not None:
            missing[index] = lacking
        elif task.waits_for_parents:
            rows += [
                (task.task_id, each.task_id, each.when, ends[each.task_id]) for each in task.spec.depends_on
            ]
    if rows:
        await connection.execute(_SQL.link, *map(list, zip(*rows, strict=True)))
    return missing


async def _known(connection: Connection, parent_ids: list[str]) -> dict[str, str | None]:
    """Return how those of these tasks have ended that are there, None if they have not."""
    rows = await connection.fetch(_SQL.lock_parents, parent_ids) if parent_ids else []
    live: dict[str, str | None] = {row["task_id"]: None for row in rows}
    if left := [parent_id for parent_id in parent_ids if parent_id not in live]:
        live |= {row["task_id"]: row["status"] for row in await connection.fetch(_SQL.ended_parents, left)}
    return live


async def forget(connection: Connection, child_ids: Sequence[str]) -> None:
    """These tasks wait no more, in a commit's transaction."""
    await connection.execute(_SQL.forget, list(child_ids))
