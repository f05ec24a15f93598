"""The breakers of registries, as the store has them: told of pulls that failed, and read again."""

from podling.core.registries import COOL_DOWN_SECONDS, MAX_FAILURES
from podling.master.context import MasterContext
from podling.master.operations.registries import breakers_of

LEARN_SECONDS = 10.0
_OPEN_SECONDS = 1.0  # one that is open half opens by itself


class RegistryWatch:
    """Only a leader asks, and only it counts: so each failure is counted once, whoever was told of it."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._breakers = breakers_of(context)
        self._epoch: int | None = None
        self._learned_at = 0.0

    async def learn(self) -> frozenset[str]:
        """Tell the store what has happened, and learn what it says if that is due.

        Returns the registries of which more may start now. Raises StoreUnavailable.
        """
        registries, now = self._context.registries, self._context.clock.monotonic()
        is_news = self._epoch == self._context.epoch and await self._tell()
        pause = _OPEN_SECONDS if registries.is_open else LEARN_SECONDS
        if not is_news and self._epoch == self._context.epoch and now - self._learned_at < pause:
            return frozenset()
        if self._epoch != self._context.epoch:
            registries.told()  # what the leader before has counted
        freed = registries.learn(await self._breakers.list())
        self._epoch, self._learned_at = self._context.epoch, now
        return freed

    async def _tell(self) -> bool:
        failures, answered = self._context.registries.told()
        for registry, count in failures.items():
            for _ in range(count):
                await self._breakers.record_failure(registry, MAX_FAILURES, COOL_DOWN_SECONDS)
        for registry in answered:
            await self._breakers.record_success(registry)
        return bool(failures or answered)
