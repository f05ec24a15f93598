"""A cache of JSON values that all programs share."""

from collections.abc import Sequence
from typing import Any

from podling.core.coordination import CacheStatistics
from podling.core.coordination_rules import check_key, check_pattern_text, check_ttl, from_text, to_text
from podling.core.pattern import literal, parse_pattern
from podling.store.ports.coordination import Cache as Table

MOST_LISTED = 500


class Cache:
    """Values by their keys. Whatever it does, it does to the keys of its prefix alone."""

    def __init__(self, table: Table, prefix: str) -> None:
        self._table = table
        self._prefix = prefix
        self._hits = self._misses = 0

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value; `default` if there is none, or its time is over."""
        text = await self._table.get(self._whole(key))
        self._hits += text is not None
        self._misses += text is None
        return default if text is None else from_text(text)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Keep a value for so many seconds, None for ever; return whether the key is new."""
        lives = None if ttl is None else check_ttl(ttl)
        return await self._table.put(self._whole(key), to_text(value), lives)

    async def delete(self, key: str) -> bool:
        return await self._table.delete(self._whole(key))

    async def has(self, key: str) -> bool:
        """Whether there is a value; this counts neither as a hit nor as a miss."""
        return await self._table.get(self._whole(key)) is not None

    async def clear(self) -> int:
        """Remove everything that has this prefix; return how many that were."""
        return await self._table.clear(self._prefix)

    async def keys(
        self, pattern: str = "*", limit: int = MOST_LISTED, after: str | None = None
    ) -> Sequence[str]:
        """Return keys in their order; `after` is the last one seen.

        The pattern is a glob if it has a `*`, else one of SQL's LIKE: see `podling.core.pattern`.
        """
        check_pattern_text(pattern)
        whole = literal(self._prefix) + parse_pattern(pattern)
        start = None if after is None else self._prefix + after
        found = await self._table.keys(whole, limit, start)
        return [key.removeprefix(self._prefix) for key in found]

    async def prune(self) -> int:
        """Remove what has run out; return how many those were."""
        return await self._table.prune(self._prefix)

    async def statistics(self) -> CacheStatistics:
        """Return what this object has found and missed, and how many keys there are."""
        size = await self._table.size(self._prefix)
        return CacheStatistics(hits=self._hits, misses=self._misses, size=size)

    def _whole(self, key: str) -> str:
        return self._prefix + check_key(key)
