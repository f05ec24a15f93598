"""The cache."""

import math

from podling.core.pattern import Pattern, matches
from podling.kit.clock import Clock


class CacheTable:
    """The port `Cache`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[str, float]] = {}  # the value, and when it runs out

    async def get(self, key: str) -> str | None:
        return self._entries[key][0] if self._is_live(key) else None

    async def put(self, key: str, value: str, ttl: float | None) -> bool:
        is_new = not self._is_live(key)
        self._entries[key] = (value, math.inf if ttl is None else self._clock.monotonic() + ttl)
        return is_new

    async def delete(self, key: str) -> bool:
        was_live = self._is_live(key)
        self._entries.pop(key, None)
        return was_live

    async def clear(self, prefix: str) -> int:
        return sum([await self.delete(key) for key in self._with_prefix(prefix)])

    async def keys(self, pattern: Pattern, limit: int, after: str | None = None) -> list[str]:
        found = (key for key in self._entries if self._is_live(key) and (after is None or key > after))
        return sorted(key for key in found if matches(pattern, key))[:limit]

    async def size(self, prefix: str) -> int:
        return sum(self._is_live(key) for key in self._with_prefix(prefix))

    async def prune(self, prefix: str) -> int:
        gone = [key for key in self._with_prefix(prefix) if not self._is_live(key)]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def _with_prefix(self, prefix: str) -> list[str]:
        return [key for key in self._entries if key.startswith(prefix)]

    def _is_live(self, key: str) -> bool:
        return key in self._entries and self._clock.monotonic() < self._entries[key][1]
