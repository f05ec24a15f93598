"""What keeps the tables from growing for ever."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta

import asyncpg

from podling.core.value import value
from podling.store.ports.maintained import Forgotten, Maintained
from podling.store.postgres.diagnosis import open_transactions
from podling.store.postgres.errors import translated
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load

_SQL = load("maintenance")
_BATCH = 1000
_MOST_FOUND = 20_000
_MOST_WARNINGS = 3
_OLD_TRANSACTION = timedelta(minutes=1)
_DROP_TASK = (
    _SQL.drop_specs,
    _SQL.drop_ended,
    _SQL.drop_attempts,
    _SQL.drop_events,
    _SQL.drop_tails,
    _SQL.drop_letters,
    _SQL.drop_checkpoints,
    _SQL.drop_checkpoint_heads,
)
_log = logging.getLogger(__name__)


@value
class TablesMaintained(Maintained):
    """What one pass has done."""

    partitions_made: int
    partitions_dropped: int
    changes_removed: int
    messages_removed: int
    keys_removed: int
    inbox_keys_removed: int
    tasks_removed: int
    workflows_removed: int


async def maintain(pool: Pool, keep_ended: timedelta | None, seconds: float) -> TablesMaintained:
    """See `PostgresStore.maintain`."""
    await warn_of_old_transactions(pool, _OLD_TRANSACTION)
    made = await make_partitions(pool)
    removals = {
        "changes_removed": deletions(pool, _SQL.drop_changes),
        "messages_removed": deletions(pool, _SQL.drop_messages),
        "keys_removed": deletions(pool, _SQL.drop_keys),
        "inbox_keys_removed": deletions(pool, _SQL.drop_inbox_keys),
        "tasks_removed": _no_deletions() if keep_ended is None else _task_deletions(pool, keep_ended),
        "workflows_removed": _no_deletions()
        if keep_ended is None
        else deletions(pool, _SQL.drop_workflows, keep_ended),
    }
    removed, is_complete = await _in_turns(removals, seconds)
    dropped = await _drop_partitions(pool)
    return TablesMaintained(
        partitions_made=made, partitions_dropped=dropped, is_complete=is_complete, **removed
    )


async def _in_turns(
    removals: Mapping[str, AsyncGenerator[int, None]], seconds: float
) -> tuple[dict[str, int], bool]:
    """Take a batch of each in turn until nothing is left or the time is over; return whether it was enough.

    So that much of one kind keeps nobody from the others, and a pass comes to its end.
    """
    until = asyncio.get_running_loop().time() + seconds
    removed, left = dict.fromkeys(removals, 0), dict(removals)
    try:
        while left:
            for name, batches in tuple(left.items()):
                count = await anext(batches, None)
                removed[name] += count or 0
                if count is None:
                    del left[name]
            if asyncio.get_running_loop().time() >= until:
                break
    finally:
        for batches in left.values():
            await batches.aclose()
    return removed, not left


async def warn_of_old_transactions(pool: Pool, older_than: timedelta) -> None:
    """Name, in the log, who keeps the server from cleaning up. A login sees its own sessions, or all."""
    async with pool.connection() as connection:
        for found in await open_transactions(connection, older_than, _MOST_WARNINGS):
            _log.warning(
                "a transaction of %s (login %s, pid %d) has been open for %d s: PostgreSQL keeps every old "
                "row for it, and all gets slower; end it there, or by SELECT pg_terminate_backend(%d)",
                found.application or "a program without a name",
                found.login,
                found.process_id,
                found.seconds,
                found.process_id,
            )


async def missing_partitions(pool: Pool) -> list[str]:
    """Return the names of the partitions of this month and the next two that are not there."""
    async with pool.connection() as connection:
        return [month["name"] for month in await connection.fetch(_SQL.months)]


async def make_partitions(pool: Pool) -> int:
    """Make the partitions of this month and the next two; return how many were missing."""
    async with pool.connection() as connection:
        months = await connection.fetch(_SQL.months)
    made = 0
    for month in months:
        try:
            async with pool.transaction("SET LOCAL lock_timeout = '2s'") as connection:
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {month['name']} PARTITION OF ended_tasks "
                    f"FOR VALUES FROM ('{month['first']}+00') TO ('{month['next']}+00')"
                )
            made += 1
        except (asyncpg.DuplicateTableError, asyncpg.UniqueViolationError):
            _log.debug("another master has just made the partition %s", month["name"])
        except (asyncpg.LockNotAvailableError, asyncpg.CheckViolationError) as error:
            # The default partition takes the rows meanwhile.
            _log.warning("the partition %s was not made: %s", month["name"], type(error).__name__)
    return made


async def forget(seconds: float, *removals: AsyncGenerator[int, None]) -> Forgotten:
    """Take a batch of each in turn until nothing is left or the time is over."""
    with translated():
        removed, is_complete = await _in_turns(
            {str(index): each for index, each in enumerate(removals)}, seconds
        )
    return Forgotten(removed=sum(removed.values()), is_complete=is_complete)


async def deletions(pool: Pool, sql: str, *arguments: object) -> AsyncGenerator[int, None]:
    """Delete until a batch is not full, one batch each time that it is asked.

    The statement's last argument is how many a batch may have.
    """
    count = _BATCH
    while count == _BATCH:
        async with pool.transaction() as connection:
            count = int((await connection.execute(sql, *arguments, _BATCH)).rpartition(" ")[2])
        yield count


async def _no_deletions() -> AsyncGenerator[int, None]:
    return
    yield


async def _task_deletions(pool: Pool, keep: timedelta) -> AsyncGenerator[int, None]:
    """Look for many at once, since each look reads past what was removed before; remove few at once."""
    task_ids = [""] * _MOST_FOUND
    while len(task_ids) == _MOST_FOUND:
        async with pool.connection() as connection:
            rows = await connection.fetch(_SQL.old_tasks, keep, _MOST_FOUND)
        task_ids = [row["task_id"] for row in rows]
        for first in range(0, len(task_ids), _BATCH):
            async with pool.transaction() as connection:
                for sql in _DROP_TASK:
                    await connection.execute(sql, task_ids[first : first + _BATCH])
            yield len(task_ids[first : first + _BATCH])


async def _drop_partitions(pool: Pool) -> int:
    """Drop the empty partitions of past months; one that is in use is left for the next time.

    The default partition rules DETACH … CONCURRENTLY out, so the lock's short timeout has to do.
    """
    async with pool.connection() as connection:
        names = [row["name"] for row in await connection.fetch(_SQL.past_partitions)]
    dropped = 0
    for name in names:
        try:
            async with pool.transaction("SET LOCAL lock_timeout = '500ms'") as connection:
                # Rows of a month that has passed are only ever deleted, so empty means: for good.
                if await connection.fetchval(f"SELECT NOT EXISTS (SELECT FROM {name})"):
                    await connection.execute(f"DROP TABLE {name}")
                    dropped += 1
        except asyncpg.LockNotAvailableError:
            _log.info("the empty partition %s is in use and stays for now", name)
    return dropped
