"""Who leads: one row, renewed by its holder, taken over when it stood still for a whole lease."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from podling.core.errors import PodlingError, StoreUnavailable
from podling.master.context import MasterContext
from podling.store.base import Leadership

_log = logging.getLogger(__name__)

LOOKS_PER_RENEWAL = 3
STEP_DOWN_AFTER = 2 / 3  # of a lease without a renewal


class Election:
    """`run_once` renews, or watches the holder; any doubt means: not the leader.

    `before_leading` brings the view up to date with what the last leader did.
    """

    def __init__(
        self, context: MasterContext, before_leading: Sequence[Callable[[], Awaitable[None]]] = ()
    ) -> None:
        self._context = context
        self._before_leading = before_leading
        self._seen: Leadership | None = None
        self._seen_since = 0.0
        self._renewed_at = 0.0

    @property
    def interval_seconds(self) -> float:
        return self._context.options.lease_seconds / 4

    async def run_once(self) -> float | None:
        try:
            async with asyncio.timeout(self._patience_seconds()):
                await (self._renew() if self._context.leads else self._challenge())
        except TimeoutError:
            self._step_down_if_late()
            raise StoreUnavailable("the store did not answer in time") from None
        except PodlingError:
            self._step_down_if_late()
            raise
        return self.interval_seconds if self._context.leads else self._next_look_seconds()

    def _next_look_seconds(self) -> float:
        """Look often, so that no more than a lease and a little passes before a takeover."""
        looked_for = self._context.clock.monotonic() - self._seen_since
        left = self._context.options.lease_seconds - looked_for
        return max(0.0, min(left, self.interval_seconds / LOOKS_PER_RENEWAL))

    def _patience_seconds(self) -> float:
        """A leader waits for no answer that would come after the moment to step down."""
        late = self._context.options.lease_seconds * STEP_DOWN_AFTER
        if not self._context.leads:
            return late
        return max(0.0, late - (self._context.clock.monotonic() - self._renewed_at))

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
            for prepare in self._before_leading:
                await prepare()
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
        if self._context.leads and age >= self._context.options.lease_seconds * STEP_DOWN_AFTER:
            self._step_down("the store did not answer in time")

    def _step_down(self, reason: str) -> None:
        _log.warning("this master does not lead any more: %s", reason)
        self._context.lead(None)

    async def resign(self) -> None:
        """Give the leadership up, so that another master need not wait."""
        if (epoch := self._context.epoch) is not None:
            self._context.lead(None)
            await self._context.store.resign_leadership(self._context.options.identity, epoch)
