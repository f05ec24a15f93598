"""All of coordination by one name, over either store."""

from collections.abc import Awaitable, Callable
from typing import Self

from podling.coordination.breakers import Breakers
from podling.coordination.cache import Cache
from podling.coordination.checkpoints import Checkpoints
from podling.coordination.idempotency import Idempotency
from podling.coordination.locks import Locks
from podling.core.coordination_rules import DEFAULT_LOCK_SECONDS, check_prefix, check_ttl
from podling.core.errors import StoreUnavailable
from podling.kit.waits import Waits
from podling.store.ports.coordination import Coordination as Tables


class Coordination:
    """Use it as a context manager, or `connect` and `disconnect` it.

    Whatever it is given is checked, and refused by InvalidInput; StoreUnavailable tells that the store
    could not be reached.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        prefix: str = "",
        lock_seconds: float = DEFAULT_LOCK_SECONDS,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        check_prefix(prefix)
        check_ttl(lock_seconds, "lockSeconds")
        self.tables = tables
        self._prepare = prepare
        self._is_connected = prepare is None
        self._waits = Waits(StoreUnavailable, "coordination was disconnected while this waited")
        self.locks = Locks(tables.locks, prefix, lock_seconds, self._waits)
        self.breakers = Breakers(tables.breakers, prefix, self._waits)
        self.cache = Cache(tables.cache, prefix)
        self.checkpoints = Checkpoints(tables.checkpoints, prefix)
        self.idempotency = Idempotency(tables.idempotency, prefix)

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    async def connect(self) -> Self:
        """Make the tables if they are missing. Raises ConfigurationError, StoreUnavailable."""
        if self._prepare is not None:
            await self._prepare()
        self._is_connected = True
        return self

    async def disconnect(self) -> None:
        """Send away, by StoreUnavailable, whoever waits. A pool that was lent stays open."""
        self._is_connected = False
        self._waits.send_away()
        await self.tables.close()

    async def forget(self) -> int:
        """Remove what has run out, under any prefix; return how much that was. A master does so by itself."""
        return await self.tables.forget()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
