"""The key of attempts' credentials."""

from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load

_SQL = load("task_keys")


class TaskKeyTable:
    """The port `TaskKeys`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def shared(self, candidate: bytes) -> bytes:
        # Apart, since one statement would not see a row that another master has just put in its way.
        await self._pool.fetch(_SQL.offer, candidate)
        row = await self._pool.fetch_row(_SQL.read)
        assert row is not None
        return bytes(row["key"])
