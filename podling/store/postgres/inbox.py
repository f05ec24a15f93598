"""What programs have left by SQL; the functions that they call are in the migrations."""

from collections.abc import Iterable, Mapping, Sequence

from podling.core.facts import InboxDepth
from podling.core.task import TaskStatus
from podling.store.batch import TaskWrite
from podling.store.ports.inbox import Inbox, InboxItem, InboxKind
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load

_SQL = load("inbox")


class InboxTable(Inbox):
    """See the port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, kind: InboxKind, task_id: str, body: str) -> int:
        row = await self._pool.fetch_row(_SQL.put, kind, task_id, body)
        assert row is not None
        return int(row["inbox_id"])

    async def page(self, after: int, limit: int, most_bytes: int) -> Sequence[InboxItem]:
        rows = await self._pool.fetch(_SQL.page, after, limit, most_bytes)
        return [InboxItem(**(dict(row) | {"kind": InboxKind(row["kind"])})) for row in rows]

    async def depth(self, limit: int) -> InboxDepth:
        row = await self._pool.fetch_row(_SQL.depth, limit)
        assert row is not None
        return InboxDepth(items=row["items"], oldest_seconds=row["oldest_seconds"])

    async def remove(self, inbox_ids: Sequence[int]) -> None:
        await self._pool.fetch(_SQL.remove, list(inbox_ids))


def rows_of(writes: Iterable[TaskWrite]) -> list[int]:
    """Return the ids of the rows that these tasks wait in."""
    return sorted(write.inbox_id for write in writes if write.inbox_id is not None)


async def missing(connection: Connection, writes: Mapping[int, TaskWrite]) -> list[int]:
    """Take the rows of new tasks out in the connection's transaction.

    Returns the places of those whose row has gone; a task without one misses none.
    """
    rows = rows_of(writes.values())
    if not rows:
        return []
    refused = rows_of(write for write in writes.values() if write.task.status is TaskStatus.FAILED)
    found = {row["inbox_id"] for row in await connection.fetch(_SQL.take, rows, refused)}
    return [
        place for place, write in writes.items() if write.inbox_id is not None and write.inbox_id not in found
    ]
