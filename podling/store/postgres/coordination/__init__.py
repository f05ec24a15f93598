"""Coordination in PostgreSQL: `PostgresCoordination` joins the tables."""

import asyncio
from collections.abc import Sequence

from podling.core.breaker import FORGOTTEN_AFTER
from podling.store.postgres.coordination.breakers import BreakerTable
from podling.store.postgres.coordination.cache import CacheTable
from podling.store.postgres.coordination.checkpoints import CheckpointTable
from podling.store.postgres.coordination.idempotency import IdempotencyTable
from podling.store.postgres.coordination.locks import LockTable
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.coordination.signals import Signals
from podling.store.postgres.queries import load

_LOCKS = load("locks")
_CACHE = load("cache")
_IDEMPOTENCY = load("idempotency")
_BREAKERS = load("breakers")
_BATCH = 1000
_FORGETTING_SECONDS = 5.0


class PostgresCoordination:
    """The port `Coordination`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._signals = Signals(runner)
        self.locks = LockTable(runner, self._signals)
        self.breakers = BreakerTable(runner, self._signals)
        self.cache = CacheTable(runner)
        self.checkpoints = CheckpointTable(runner)
        self.idempotency = IdempotencyTable(runner)

    async def forget(self) -> int:
        """See `Coordination.forget`; after five seconds the rest is left for another call."""
        statements: Sequence[tuple[str, tuple[object, ...]]] = (
            (_CACHE.prune, ("%", _BATCH)),
            (_IDEMPOTENCY.forget, (_BATCH,)),
            (_LOCKS.forget_locks, (_BATCH,)),
            (_LOCKS.forget_waiters, (_BATCH,)),
            (_BREAKERS.forget, (_BATCH, FORGOTTEN_AFTER)),
        )
        until = asyncio.get_running_loop().time() + _FORGETTING_SECONDS
        forgotten = 0
        for sql, arguments in statements:
            removed = _BATCH
            while removed == _BATCH and asyncio.get_running_loop().time() < until:
                removed = (await self._runner.fetch(sql, *arguments))[0]["count"]
                forgotten += removed
        return forgotten

    async def close(self) -> None:
        await self.locks.close()
        await self._signals.close()
        await self._runner.close()
