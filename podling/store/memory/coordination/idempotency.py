"""Idempotency keys that programs claim for work of their own."""

import math
from datetime import timedelta

from podling.core.coordination import Claim, ClaimStatus, Outcome
from podling.core.value import value
from podling.kit.clock import Clock


@value
class _Entry:
    """`outcome` None: it is claimed, and the work goes on."""

    token: int
    ends: float
    outcome: Outcome | None = None


class IdempotencyTable:
    """The port `Idempotency`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._token = 0
        self._entries: dict[str, _Entry] = {}

    async def claim(self, key: str, ttl: float) -> Claim:
        if (known := self._live(key)) is None:
            self._token += 1
            self._entries[key] = _Entry(token=self._token, ends=self._clock.monotonic() + ttl)
            return Claim(status=ClaimStatus.CLAIMED, token=self._token)
        if known.outcome is None:
            return Claim(status=ClaimStatus.IN_PROGRESS)
        return Claim(status=ClaimStatus.DONE, value=known.outcome.value)

    async def put(self, key: str, value: str, ttl: float | None, token: int | None = None) -> bool:
        known = self._live(key)
        if token is not None and (known is None or known.token != token):
            return False
        expires_at = None if ttl is None else self._clock.now() + timedelta(seconds=ttl)
        self._entries[key] = _Entry(
            token=0 if known is None else known.token,
            ends=math.inf if ttl is None else self._clock.monotonic() + ttl,
            outcome=Outcome(key=key, value=value, expires_at=expires_at),
        )
        return True

    async def get(self, key: str) -> Outcome | None:
        known = self._live(key)
        return None if known is None else known.outcome

    async def delete(self, key: str) -> bool:
        was_live = self._live(key) is not None
        self._entries.pop(key, None)
        return was_live

    def prune(self) -> int:
        """Forget what has run out; return how much."""
        gone = [key for key in self._entries if self._live(key) is None]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def _live(self, key: str) -> _Entry | None:
        known = self._entries.get(key)
        return known if known is not None and self._clock.monotonic() < known.ends else None
