"""Queues and what operators say about them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import asyncpg

from podling.core.queue import UNLIMITED, Queue, QueuePolicy, with_pause
from podling.store.ports.queues import Queues
from podling.store.postgres.hints import Notifier
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import from_json, to_json

_SQL = load("queues")


class QueueTable(Queues):
    """See the port."""

    def __init__(self, pool: Pool, notifier: Notifier) -> None:
        self._pool = pool
        self._notifier = notifier

    async def declare(self, names: Sequence[str]) -> None:
        await self._pool.fetch(_SQL.declare, sorted(set(names)))

    async def save(self, name: str, policy: QueuePolicy, paused: bool | None = None) -> bool:
        said = with_pause(policy, paused=False)
        body = None if said == UNLIMITED else to_json(said)
        row = await self._pool.fetch_row(_SQL.save, name, body, paused)
        assert row is not None
        self._notifier.call()
        return bool(row["is_new"])

    async def pause(self, name: str, paused: bool) -> bool:
        found = await self._pool.fetch_row(_SQL.pause, name, paused) is not None
        self._notifier.call()
        return found

    async def remove(self, name: str) -> bool:
        removed = await self._pool.fetch_row(_SQL.remove, name) is not None
        self._notifier.call()
        return removed

    async def known(self, names: Sequence[str]) -> AbstractSet[str]:
        return {row["name"] for row in await self._pool.fetch(_SQL.known, list(names))}

    async def get(self, name: str) -> Queue | None:
        row = await self._pool.fetch_row(_SQL.get, name)
        return None if row is None else _read(row)

    async def find(self, after: str = "", limit: int = 500) -> Sequence[Queue]:
        return [_read(row) for row in await self._pool.fetch(_SQL.find, after, limit)]

    async def policies(self) -> Mapping[str, QueuePolicy]:
        found = map(_read, await self._pool.fetch(_SQL.policies))
        return {queue.name: queue.policy for queue in found}


def _read(row: asyncpg.Record) -> Queue:
    policy = UNLIMITED if row["body"] is None else from_json(QueuePolicy, row["body"])
    return Queue(name=row["name"], policy=with_pause(policy, row["paused"]))
