"""The idempotency keys that tasks have claimed."""

from collections import OrderedDict
from dataclasses import dataclass

KEPT_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Claim:
    task_id: str
    body_hash: str | None
    claimed_at: float


class KeyTable:
    """A key outlives its task: for seven days from its claim, but `most_orphans` at most."""

    def __init__(self, most_orphans: int) -> None:
        self._most_orphans = most_orphans
        self._claims: dict[str, Claim] = {}
        self._orphans: OrderedDict[str, Claim] = OrderedDict()

    def get(self, key: str) -> Claim | None:
        return self._claims.get(key)

    def claim(self, key: str, claim: Claim) -> None:
        self._claims[key] = claim

    def orphan(self, key: str, now: float) -> None:
        """Note that the key's task is there no more."""
        self._orphans[key] = self._claims[key]
        while self._orphans and (len(self._orphans) > self._most_orphans or self._is_old(now)):
            oldest, _ = self._orphans.popitem(last=False)
            del self._claims[oldest]

    def _is_old(self, now: float) -> bool:
        return now - next(iter(self._orphans.values())).claimed_at >= KEPT_SECONDS
