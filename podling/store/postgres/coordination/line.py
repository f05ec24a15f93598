"""The line before a lock: first come, first served, as long as who waits is alive.

Each place in it is a row that has to be prolonged; one statement does so for all places of a program.
Who frees a lock calls the first in line by a signal. That may get lost, so the statement also tells
whose turn it is: without any signal a lock is found free a second later.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from podling.core.coordination import Lock
from podling.core.errors import PodlingError
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.coordination.signals import Signals
from podling.store.postgres.queries import load

LEASE_SECONDS = 6.0
"""How long a place is kept for who does not prolong it: so long a dead waiter holds up the others."""

RENEW_SECONDS = 1.0
_LEAST_PAUSE_SECONDS = 0.05
_CLOSE_SECONDS = 5.0

_SQL = load("locks")
_log = logging.getLogger(__name__)


class Line:
    """The places of this program in all lines."""

    def __init__(self, runner: Runner, signals: Signals) -> None:
        self._fetch = runner.fetch
        self._signals = signals
        self._places: dict[int, asyncio.Event] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[Any]] = set()

    async def wait(self, key: str, owner: str, ttl: float, wait_seconds: float) -> Lock | None:
        """Return the lock when it is this one's turn, None when it was not in time."""
        deadline = _now() + wait_seconds
        await self._signals.hear()
        while True:  # a place is lost when it could not be prolonged for long
            async with self._place(key) as (ticket, woken):
                while (row := await self._claim(key, owner, ttl, ticket))["is_first"] is not None:
                    if row["token"] is not None:
                        return read_lock(row)
                    if (left := deadline - _now()) <= 0:
                        return None
                    await _woken(woken, min(left, max(_turn_in(row), _LEAST_PAUSE_SECONDS)))

    async def close(self) -> None:
        """Settle what was given up, and prolong nothing more."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=_CLOSE_SECONDS)
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    @asynccontextmanager
    async def _place(self, key: str) -> AsyncIterator[tuple[int, asyncio.Event]]:
        ticket = await self._entered(key)
        with self._signals.on(f"lock {ticket}") as woken:
            self._places[ticket] = woken
            if self._renewing is None or self._renewing.done():
                self._renewing = asyncio.create_task(self._renew(), name="places in line")
            try:
                yield ticket, woken
            finally:
                del self._places[ticket]
                # Who is cancelled leaves all the same, or the others would wait until the place ends.
                await asyncio.shield(self._settle(self._leave(ticket)))

    async def _entered(self, key: str) -> int:
        entering = self._settle(self._enter(key))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            self._settle(self._leave_after(entering))
            raise

    async def taken(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return what a statement says that may take a lock; for somebody who has gone it is given back."""
        taking = self._settle(self._fetch(sql, *arguments))
        try:
            rows: list[asyncpg.Record] = await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._settle(self._give_back(taking))
            raise
        return rows

    async def _claim(self, key: str, owner: str, ttl: float, ticket: int) -> asyncpg.Record:
        return (await self.taken(_SQL.claim, key, owner, ttl, ticket))[0]

    async def _enter(self, key: str) -> int:
        rows = await self._fetch(_SQL.enter, key, LEASE_SECONDS)
        ticket: int = rows[0]["ticket"]
        return ticket

    async def _leave(self, ticket: int) -> None:
        try:
            await self._fetch(_SQL.leave, ticket)
        except PodlingError as error:
            _log.warning("a place in line stays until it runs out: %s", error.message)

    async def _leave_after(self, entering: "asyncio.Task[int]") -> None:
        await self._leave(await entering)

    async def _give_back(self, taking: "asyncio.Task[list[asyncpg.Record]]") -> None:
        for row in await taking:
            if row["token"] is not None:
                await self._fetch(_SQL.release, row["key"], row["token"])

    def _settle(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Have it done whatever becomes of who asked for it."""
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settled)
        return task

    def _settled(self, task: "asyncio.Task[Any]") -> None:
        self._settling.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), PodlingError):
            _log.debug("a waiter's statement failed: %s", error.message)

    async def _renew(self) -> None:
        """Prolong all places while there are any, and wake those whose turn it may be."""
        while self._places:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                rows = await self._fetch(_SQL.renew, list(self._places), LEASE_SECONDS)
            except PodlingError as error:
                _log.warning("places in line could not be prolonged: %s", error.message)
                continue
            self._wake(rows)

    def _wake(self, rows: list[asyncpg.Record]) -> None:
        waiting = {row["ticket"] for row in rows if _turn_in(row) > RENEW_SECONDS}
        for ticket, woken in self._places.items():
            if ticket not in waiting:  # it may be their turn, or their place was lost
                woken.set()


def _turn_in(row: asyncpg.Record) -> float:
    """Return in how many seconds the lock runs out for who is first in line, as far as is known."""
    if not row["is_first"]:
        return float("inf")
    return max(row["seconds_left"] or 0.0, 0.0)


async def _woken(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
    woken.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()


def read_lock(row: asyncpg.Record) -> Lock:
    """Return the lock of a row."""
    return Lock(
        key=row["key"],
        owner=row["owner"],
        token=row["token"],
        acquired_at=row["acquired_at"],
        expires_at=row["expires_at"],
    )
