"""Idempotency keys that programs claim for work of their own."""

from podling.core.coordination import Claim, ClaimStatus, Outcome
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.queries import load

_SQL = load("idempotency")


class IdempotencyTable:
    """The port `Idempotency`."""

    def __init__(self, runner: Runner) -> None:
        self._fetch = runner.fetch

    async def claim(self, key: str, ttl: float) -> Claim:
        while not (claimed := await self._fetch(_SQL.claim, key, ttl)):
            known = await self._fetch(_SQL.get, key)
            if not known:
                continue  # deleted, or run out, between the two
            if known[0]["value"] is None:
                return Claim(status=ClaimStatus.IN_PROGRESS)
            return Claim(status=ClaimStatus.DONE, value=known[0]["value"])
        return Claim(status=ClaimStatus.CLAIMED, token=claimed[0]["token"])

    async def put(self, key: str, value: str, ttl: float | None, token: int | None = None) -> bool:
        return bool(await self._fetch(_SQL.put, key, value, ttl, token))

    async def get(self, key: str) -> Outcome | None:
        rows = await self._fetch(_SQL.get, key)
        if not rows or rows[0]["value"] is None:
            return None
        return Outcome(key=key, value=rows[0]["value"], expires_at=rows[0]["expires_at"])

    async def delete(self, key: str) -> bool:
        rows = await self._fetch(_SQL.delete, key)
        return bool(rows) and bool(rows[0]["was_live"])
