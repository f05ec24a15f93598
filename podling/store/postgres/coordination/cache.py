"""The cache."""

from podling.core.pattern import Pattern, literal, to_like
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.queries import load

_SQL = load("cache")
_BATCH = 1000


class CacheTable:
    """The port `Cache`."""

    def __init__(self, runner: Runner) -> None:
        self._fetch = runner.fetch

    async def get(self, key: str) -> str | None:
        rows = await self._fetch(_SQL.get, key)
        return rows[0]["value"] if rows else None

    async def put(self, key: str, value: str, ttl: float | None) -> bool:
        return bool((await self._fetch(_SQL.put, key, value, ttl))[0]["is_new"])

    async def delete(self, key: str) -> bool:
        rows = await self._fetch(_SQL.delete, key)
        return bool(rows) and bool(rows[0]["was_live"])

    async def clear(self, prefix: str) -> int:
        return await self._count(_SQL.clear, _beginning(prefix))

    async def keys(self, pattern: Pattern, limit: int, after: str | None = None) -> list[str]:
        return [row["key"] for row in await self._fetch(_SQL.keys, to_like(pattern), after or "", limit)]

    async def size(self, prefix: str) -> int:
        return await self._count(_SQL.size, _beginning(prefix))

    async def prune(self, prefix: str) -> int:
        removed, batch = 0, _BATCH
        while batch == _BATCH:
            batch = await self._count(_SQL.prune, _beginning(prefix), _BATCH)
            removed += batch
        return removed

    async def _count(self, sql: str, *arguments: object) -> int:
        return int((await self._fetch(sql, *arguments))[0]["count"])


def _beginning(prefix: str) -> str:
    return f"{to_like(literal(prefix))}%"
