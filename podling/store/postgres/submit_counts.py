"""Counts of submits: a row for each queue that has a limit."""

from podling.store.ports.submit_counts import SubmitCounts, Taken
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load

_SQL = load("submit_counts")


class SubmitCountTable(SubmitCounts):
    """See the port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, queue: str, wanted: int, limit: int) -> Taken:
        row = await self._pool.fetch_row(_SQL.take, queue, wanted, limit)
        assert row is not None
        return Taken(granted=row["granted"], seconds_left=max(0.0, row["seconds_left"]))
