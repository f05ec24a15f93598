"""Who leads: one row, renewed by its holder, taken over when it stood still for a whole lease."""

import logging

from podling.core.errors import PodlingError
from podling.master.context import MasterContext
from podling.store.base import Leadership

_log = logging.getLogger(__name__)


class Election:
    """`run_once` renews, or watches the holder; any doubt means: not the leader."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._seen: Leadership | None = None
        self._seen_since = 0.0
        self._renewed_at = 0.0

    @property
    def interval_seconds(self) -> float:
        return self._context.options.lease_seconds / 4

    async def run_once(self) -> float | None:
        try:
            await (self._renew() if self._context.leads else self._challenge())
        except PodlingError:
            self._step_down_if_late()
            raise
        return self.interval_seconds

    async def _renew(self) -> None:
        assert self._context.epoch is not None
        asked_at = self._context.clock.monotonic()
        identity = self._context.options.identity
        if await self._context.store.renew_leadership(identity, self._context.epoch):
            self._renewed_at = asked_at
        else:
            self._step_down("another master has taken over")

    async def _challenge(self) -> None:
        seen = await self._context.store.leadership()
        if not self._may_take(seen):
            return
        asked_at = self._context.clock.monotonic()
        epoch = await self._context.store.take_leadership(self._context.options.identity, seen)
        if epoch is not None:
            self._renewed_at = asked_at
            self._context.lead(epoch)
            _log.info("this master leads, epoch %d", epoch)

    def _may_take(self, seen: Leadership) -> bool:
        """At once if nobody leads or this master's own last start did; else after a whole lease."""
        now = self._context.clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_since = seen, now
        if seen.holder in (None, self._context.options.identity):
            return True
        return now - self._seen_since >= self._context.options.lease_seconds

    def _step_down_if_late(self) -> None:
        """Stop leading before the lease ends, so that the next leader never overlaps."""
        age = self._context.clock.monotonic() - self._renewed_at
        if self._context.leads and age >= self._context.options.lease_seconds * 2 / 3:
            self._step_down("the store did not answer in time")

    def _step_down(self, reason: str) -> None:
        _log.warning("this master does not lead any more: %s", reason)
        self._context.lead(None)

    async def resign(self) -> None:
        """Give the leadership up, so that another master need not wait."""
        if (epoch := self._context.epoch) is not None:
            self._context.lead(None)
            await self._context.store.resign_leadership(self._context.options.identity, epoch)
