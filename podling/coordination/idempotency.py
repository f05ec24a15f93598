"""Idempotency: of all that ask for the same work, one does it, and the others get what came of it."""

from dataclasses import replace
from typing import Any

from podling.core.coordination import Claim, ClaimStatus, Outcome
from podling.core.coordination_rules import (
    DEFAULT_CLAIM_SECONDS,
    check_key,
    check_token,
    check_ttl,
    from_text,
    to_text,
)
from podling.core.errors import ClaimLost
from podling.store.ports.coordination import Idempotency as Table


class Idempotency:
    """Results by their keys."""

    def __init__(self, table: Table, prefix: str) -> None:
        self._table = table
        self._prefix = prefix

    async def claim(self, key: str, ttl: float = DEFAULT_CLAIM_SECONDS) -> Claim:
        """Be the first (`claimed`: do the work, then `set` its result with the claim's token), or be told
        that somebody works on it (`in_progress`), or what came of it (`done`).

        Whoever has not said within `ttl` seconds what came of it has lost the claim.
        """
        claim = await self._table.claim(self._whole(key), check_ttl(ttl))
        return replace(claim, value=from_text(claim.value)) if claim.status is ClaimStatus.DONE else claim

    async def set(self, key: str, value: Any, ttl: float | None = None, *, token: int | None = None) -> None:
        """Keep the result for so many seconds, None for ever.

        With the `token` of a claim, it raises ClaimLost if the claim has run out: another one may have
        been told to do the work.
        """
        lives = None if ttl is None else check_ttl(ttl)
        fence = None if token is None else check_token(token)
        if not await self._table.put(self._whole(key), to_text(value), lives, fence):
            raise ClaimLost(
                f"the claim of {key} has run out; somebody else may be at it", details={"key": key}
            )

    async def get(self, key: str) -> Outcome | None:
        """Return the result; None if there is none, or not yet."""
        found = await self._table.get(self._whole(key))
        return None if found is None else replace(found, key=key, value=from_text(found.value))

    async def delete(self, key: str) -> bool:
        """Forget the result, or the claim."""
        return await self._table.delete(self._whole(key))

    def _whole(self, key: str) -> str:
        return self._prefix + check_key(key)
