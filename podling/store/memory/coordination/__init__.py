"""Coordination in memory: `MemoryCoordination` joins the tables."""

from podling.kit.clock import Clock
from podling.store.memory.coordination.breakers import BreakerTable
from podling.store.memory.coordination.cache import CacheTable
from podling.store.memory.coordination.checkpoints import CheckpointTable, IsLive, no_tasks
from podling.store.memory.coordination.idempotency import IdempotencyTable
from podling.store.memory.coordination.locks import LockTable


class MemoryCoordination:
    """The port `Coordination`."""

    def __init__(self, clock: Clock, is_live: IsLive = no_tasks) -> None:
        self.locks = LockTable(clock)
        self.breakers = BreakerTable(clock)
        self.cache = CacheTable(clock)
        self.checkpoints = CheckpointTable(clock, is_live)
        self.idempotency = IdempotencyTable(clock)

    async def forget(self) -> int:
        more = self.idempotency.prune() + self.locks.prune() + self.breakers.prune()
        return await self.cache.prune("") + more

    async def close(self) -> None:
        pass
