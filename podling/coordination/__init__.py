"""Locks with fencing tokens, circuit breakers, a cache, checkpoints and idempotency keys.

    async with over_pool(pool, prefix="shop:") as coordination:
        async with coordination.locks.hold("invoices", wait_seconds=60) as lock:
            await write_invoices(fenced_by=lock.token)

`over_pool` keeps them in the PostgreSQL database of an asyncpg pool, which is never closed here, beside
whatever else it has; `in_memory` keeps them in this process. The database's clock counts every time to
live. See docs/coordination.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from podling.coordination.coordination import Coordination

if TYPE_CHECKING:
    from podling.coordination.memory import in_memory
    from podling.coordination.postgres import over_pool

__all__ = ["Coordination", "in_memory", "over_pool"]

_BY_STORE = {"in_memory": "memory", "over_pool": "postgres"}


def __getattr__(name: str) -> Any:
    # A master has its store already, and must not know which one it is.
    if name in _BY_STORE:
        return getattr(import_module(f"podling.coordination.{_BY_STORE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
