"""The newest output of every attempt."""

from collections.abc import Sequence
from dataclasses import replace

from podling.core.logrecord import newest
from podling.store.base import LogTail
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load

_SQL = load("logs")


class Logs:
    """The part of the store about logs; see `Store` for what each method means."""

    _pool: Pool

    async def save_tails(self, tails: Sequence[LogTail]) -> None:
        last = {(tail.task_id, tail.attempt): _trimmed(tail) for tail in tails}
        rows = [last[key] for key in sorted(last)]
        if rows:
            await self._pool.fetch(
                _SQL.save,
                [tail.task_id for tail in rows],
                [tail.attempt for tail in rows],
                [tail.frames for tail in rows],
                [tail.dropped_bytes for tail in rows],
                [tail.final for tail in rows],
            )

    async def load_tail(self, task_id: str, attempt: int) -> LogTail | None:
        row = await self._pool.fetch_row(_SQL.load, task_id, attempt)
        return None if row is None else LogTail(**row)


def _trimmed(tail: LogTail) -> LogTail:
    frames, dropped = newest(tail.frames)
    return replace(tail, frames=frames, dropped_bytes=tail.dropped_bytes + dropped)
