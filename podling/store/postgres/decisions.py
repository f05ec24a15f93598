"""Recorded refusals."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import orjson

from podling.core.decision import Decision, joined
from podling.store.ports.decisions import DecisionQuery, Decisions
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
from podling.store.postgres.maintenance import deletions, forget
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import to_json

_SQL = load("decisions")


class DecisionTable(Decisions):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, decisions: Sequence[Decision]) -> None:
        """In the order of ids, so that masters never wait for each other in a circle."""
        by_id: dict[str, Decision] = {}
        for decision in decisions:
            known = by_id.get(decision.decision_id)
            by_id[decision.decision_id] = joined(known, decision) if known else decision
        if by_id:
            await self._pool.fetch(_SQL.record, to_json([by_id[key] for key in sorted(by_id)]))

    async def find(self, query: DecisionQuery) -> Sequence[Decision]:
        at, decision_id = query.after or (None, None)
        rows = await self._pool.fetch(
            _SQL.find, query.task_id, query.code, query.at_door, at, decision_id, query.limit
        )
        return [_read(row) for row in rows]

    async def prune(self, before: datetime, most: int, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        return await forget(
            seconds,
            deletions(self._pool, _SQL.prune_old, before),
            deletions(self._pool, _SQL.prune_many, most),
        )


def _read(row: asyncpg.Record) -> Decision:
    return Decision(**(dict(row) | {"details": orjson.loads(row["details"])}))
