"""The breakers of registries, as the store has them: told of pulls that failed, and read again."""

from podling.core.registries import COOL_DOWN_SECONDS, MAX_FAILURES
from podling.master.context import MasterContext
from podling.master.operations.registries import breakers_of, read

LEARN_SECONDS = 10.0
_OPEN_SECONDS = 1.0  # one that is open half opens by itself


class RegistryWatch:
    """Only a leader asks, and only it counts: so each failure is counted once, whoever was told of it."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._breakers = breakers_of(context)
        self._epoch: int | None = None
        self._learned_at = float("-inf")

    async def learn(self) -> frozenset[str]:
        """Tell the store what has happened, and learn what it says if that is due.

        Returns the registries of which more may start now. Raises StoreUnavailable.
        """
        registries, now = self._context.registries, self._context.clock.monotonic()
        if self._epoch == self._context.epoch:
            await self._tell()
        else:
            registries.told()  # what the leader before has counted
            self._learned_at = float("-inf")
        pause = _OPEN_SECONDS if registries.is_open else LEARN_SECONDS
        if now - self._learned_at < pause:
            return frozenset()
        freed = registries.learn(await read(self._breakers))
        self._epoch, self._learned_at = self._context.epoch, now
        return freed

    async def _tell(self) -> None:
        failures, answered = self._context.registries.told()
        if failures or answered:
            self._learned_at = float("-inf")
        for registry, count in failures.items():
            for _ in range(count):
                await self._breakers.record_failure(registry, MAX_FAILURES, COOL_DOWN_SECONDS)
        for registry in answered:
            await self._breakers.record_success(registry)
