"""Lists may be read from a standby. Whatever is wrong with it, the primary answers instead."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from podling.core.errors import ConfigurationError, StoreUnavailable
from podling.core.facts import ReplicaFacts
from podling.store.postgres.errors import translated
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.queries import load

MOST_SECONDS = 5.0  # for an answer; the primary has to give it within the same request
MOST_LAG_SECONDS = 30.0
LOOK_SECONDS = 5.0

_SQL = load("replica")
_POOL_SIZE = 5
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class Replica:
    """A standby of the primary, with a pool of its own. `look` says whether it may be read from."""

    def __init__(self, dsn: str, primary: Pool) -> None:
        self._address = Address(dsn, MOST_SECONDS)
        self._pool = Pool(self._address, _POOL_SIZE)
        self._primary = primary
        self._problem: str | None = "it has not answered yet"
        self._lag_seconds: float | None = None
        self._fallbacks = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def facts(self) -> ReplicaFacts:
        return ReplicaFacts(
            where=self._address.where,
            lag_seconds=self._lag_seconds,
            problem=self._problem,
            fallbacks=self._fallbacks,
        )

    def check(self) -> None:
        """Raise ConfigurationError for an address that is none."""
        try:
            self._address.check()
        except ConfigurationError as error:
            raise ConfigurationError(error.message.replace("DATABASE_URL", "DATABASE_READ_URL")) from None

    async def start(self) -> None:
        """Look once, and from then on every few seconds; one that is away is no reason not to start."""
        if self._task is None:
            await self.look()
            self._task = asyncio.create_task(self._watch(), name="postgres-replica")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._pool.close()

    async def read(self, ask: Callable[[Pool], Awaitable[_Answer]]) -> _Answer:
        """Return what the replica answers, or else the primary. Raises StoreUnavailable if neither does."""
        if self._problem is None:
            try:
                return await ask(self._pool)
            except StoreUnavailable as error:
                self._judge(error.message)
        self._fallbacks += 1
        return await ask(self._primary)

    async def look(self) -> None:
        """Find out whether it answers, is of this cluster, and how far it is behind."""
        try:
            async with asyncio.timeout(MOST_SECONDS):
                with translated():
                    await self._pool.open()
                    self._judge(await self._examine())
        except (StoreUnavailable, TimeoutError) as error:
            self._judge(str(error) or "it did not answer in time")

    async def _examine(self) -> str | None:
        """Return what is wrong with it."""
        position = await self._position()
        standing = await self._pool.fetch_row(_SQL.standing, position and position["position"])
        assert standing is not None
        self._lag_seconds = standing["lag_seconds"]
        if position is not None and standing["cluster_id"] != position["cluster_id"]:
            return "it belongs to another cluster: correct DATABASE_READ_URL"
        if self._lag_seconds is not None and self._lag_seconds > MOST_LAG_SECONDS:
            return f"it is {self._lag_seconds:.0f} s behind"
        return None

    async def _position(self) -> asyncpg.Record | None:
        """Return where the primary is; None while it is away, when the replica is all that there is."""
        try:
            return await self._primary.fetch_row(_SQL.position)
        except StoreUnavailable:
            return None

    def _judge(self, problem: str | None) -> None:
        if problem is None and self._problem is not None:
            _log.info("lists are read from the replica at %s", self._address.where)
        elif problem is not None and problem != self._problem:
            _log.warning(
                "lists are read from the primary: the replica at %s cannot be used: %s",
                self._address.where,
                problem,
            )
        self._problem = problem

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()
