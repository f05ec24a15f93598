"""A batch of plain moves, such as workers report: of live tasks, each once, as one statement."""

from contextlib import suppress

import asyncpg

from podling.store.base import Batch, WriteResult, WriteStatus
from podling.store.postgres.change_rows import changes_body
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import kept_columns, moved_row, rows_to_json

_SQL = load("commit")


async def write(pool: Pool, batch: Batch) -> list[WriteResult] | None:
    """Write all of the batch; return None, and do nothing, if a task is not as expected or it is a repeat."""
    results = [WriteResult(task_id=item.task.task_id, status=WriteStatus.APPLIED) for item in batch.tasks]
    writes = sorted(batch.tasks, key=lambda item: item.task.task_id)
    rows = rows_to_json(moved_row(item, batch.now) for item in writes)
    task_ids = [item.task.task_id for item in writes]
    given = rows, task_ids, changes_body(batch, results), *kept_columns(writes), batch.master_id, batch.number
    async with pool.connection() as connection:
        with suppress(asyncpg.UniqueViolationError):  # a repeat that was sent first came second
            if await connection.fetchval(_SQL.move_all, *given) is not None:
                return results
    return None
