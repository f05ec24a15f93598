"""The list of dead letters: a narrow table that commits write and that pages are read from."""

from collections.abc import Sequence

from podling.core.dead_letters import DeadLetter
from podling.core.task import TaskEvent
from podling.store.ports.dead_letters import DeadLetterQuery, DeadLetters
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import event_columns

_SQL = load("dead_letters")


class DeadLetterTable(DeadLetters):
    """See the port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, query: DeadLetterQuery) -> Sequence[DeadLetter]:
        sql, arguments = statement(query)
        return [DeadLetter(**row) for row in await self._pool.fetch(sql, *arguments)]

    async def take_off(self, events: Sequence[TaskEvent]) -> frozenset[str]:
        if not events:
            return frozenset()
        rows = await self._pool.fetch(_SQL.take_off, *event_columns(events))
        return frozenset(row["task_id"] for row in rows)


def statement(query: DeadLetterQuery) -> tuple[str, tuple[object, ...]]:
    """Return the statement that walks the narrowest index, and its arguments."""
    page = (*(query.after or (None, None)), query.limit)
    if query.queue is not None:
        return _SQL.find_in_queue, (*page, query.reason, query.error_code, query.queue)
    if query.error_code is not None:
        return _SQL.find_by_error_code, (*page, query.reason, query.error_code)
    if query.reason is not None:
        return _SQL.find_by_reason, (*page, query.reason)
    return _SQL.find, page


async def put(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Add the letters of a commit, in its transaction and in the order in which they are locked."""
    ordered = sorted(letters, key=lambda letter: letter.task_id)
    columns = zip(
        *((each.task_id, each.at, each.queue, each.reason, each.error_code) for each in ordered), strict=True
    )
    await connection.execute(_SQL.put, *map(list, columns))


async def take(connection: Connection, task_ids: Sequence[str]) -> frozenset[str]:
    """Take letters off the list, in a commit's transaction; return the ids of those that were on it."""
    rows = await connection.fetch(_SQL.take, list(task_ids))
    return frozenset(row["task_id"] for row in rows)
