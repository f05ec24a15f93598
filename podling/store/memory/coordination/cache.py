"""The cache."""

import math
import sys
from collections import OrderedDict

from podling.core.pattern import Pattern, matches
from podling.kit.clock import Clock

MOST_BYTES = 256 * 1024**2


class CacheTable:
    """The port `Cache`. Beyond `most_bytes` of memory, what nobody has read for longest makes room."""

    def __init__(self, clock: Clock, most_bytes: int = MOST_BYTES) -> None:
        self._clock = clock
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, tuple[str, float]] = OrderedDict()  # the value, and when it runs out

    async def get(self, key: str) -> str | None:
        if not self._is_live(key):
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    async def put(self, key: str, value: str, ttl: float | None) -> bool:
        is_new = not self._is_live(key)
        self._remove(key)
        self._entries[key] = (value, math.inf if ttl is None else self._clock.monotonic() + ttl)
        self._bytes += _size(key, value)
        while self._bytes > self._most_bytes:
            self._remove(next(iter(self._entries)))
        return is_new

    async def delete(self, key: str) -> bool:
        was_live = self._is_live(key)
        self._remove(key)
        return was_live

    def _remove(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= _size(key, entry[0])

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
            self._remove(key)
        return len(gone)

    def _with_prefix(self, prefix: str) -> list[str]:
        return [key for key in self._entries if key.startswith(prefix)]

    def _is_live(self, key: str) -> bool:
        return key in self._entries and self._clock.monotonic() < self._entries[key][1]


def _size(key: str, value: str) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value)
