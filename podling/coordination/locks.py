"""Locks with a time to live, and a token that fences off whoever held one before."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Self

from podling.core.coordination import Lock
from podling.core.coordination_rules import check_key, check_owner, check_token, check_ttl, check_wait
from podling.core.errors import LockNotAcquired
from podling.kit.asynchronous_renewal import AsyncRenewal
from podling.kit.lease import monotonic
from podling.kit.waits import Waits
from podling.store.ports.coordination import Locks as Table

MOST_LISTED = 500


class HeldLock:
    """A lock that was given; as a context manager it is released at the end."""

    def __init__(self, locks: "Locks", lock: Lock) -> None:
        self._locks = locks
        self._lock = lock

    @property
    def lock(self) -> Lock:
        """What is known of it."""
        return self._lock

    @property
    def key(self) -> str:
        return self._lock.key

    @property
    def owner(self) -> str:
        return self._lock.owner

    @property
    def token(self) -> int:
        """Greater than that of every holder before: let what you write to refuse a smaller one."""
        return self._lock.token

    @property
    def expires_at(self) -> datetime:
        """When it ends, by the store's clock, as far as this handle has been told."""
        return self._lock.expires_at

    async def release(self) -> bool:
        """Free it; False if it is not this one's any more."""
        return await self._locks.release(self.key, self.token)

    async def extend(self, ttl: float | None = None) -> bool:
        """Let it live so long from now on; False if it is not this one's any more."""
        lock = await self._locks.extend_by_token(self.key, self.token, ttl)
        self._lock = lock or self._lock
        return lock is not None

    async def is_valid(self) -> bool:
        """Whether it is still held by this handle. It may end right after: only the token is proof."""
        found = await self._locks.find(self.key)
        return found is not None and found.token == self.token

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class KeptLock:
    """A lock that is renewed in the background. `lost` is set when it could not be, or somebody freed it."""

    def __init__(self, held: HeldLock, renewal: AsyncRenewal) -> None:
        self.key, self.owner, self.token = held.key, held.owner, held.token
        self.lost = renewal.lost

    @property
    def is_lost(self) -> bool:
        return self.lost.is_set()


class Locks:
    """Locks by their keys."""

    def __init__(self, table: Table, prefix: str, ttl: float, waits: Waits) -> None:
        self._table = table
        self._prefix = prefix
        self._ttl = ttl
        self._waits = waits

    async def acquire(
        self, key: str, ttl: float | None = None, owner: str | None = None, *, wait_seconds: float = 0.0
    ) -> HeldLock | None:
        """Return the lock, or None if somebody else has it, or gets it before; after waiting if so asked.

        Those that wait are served in the order in which they came. Without an owner it is somebody whom
        nobody else can be; the same owner may acquire again, and the handle from before is worth nothing
        then, because there is a new token.
        """
        wanted, holder = self._whole(key), secrets.token_hex(16) if owner is None else check_owner(owner)
        lives = self._lives(ttl)
        if wait_seconds:
            with self._waits.waiting():
                lock = await self._table.acquire(wanted, holder, lives, check_wait(wait_seconds))
        else:
            lock = await self._table.acquire(wanted, holder, lives)
        return None if lock is None else HeldLock(self, self._told(lock))

    @asynccontextmanager
    async def hold(
        self, key: str, ttl: float | None = None, owner: str | None = None, *, wait_seconds: float = 0.0
    ) -> AsyncIterator[KeptLock]:
        """Hold the lock for as long as the block runs. Raises LockNotAcquired if it is not to be had.

        It is renewed meanwhile, so that `ttl` says only how soon others get it when this process dies.
        """
        asked_at = monotonic()
        held = await self.acquire(key, ttl, owner, wait_seconds=wait_seconds)
        if held is None:
            raise LockNotAcquired(f"the lock {key} is held by somebody else", details={"key": key})
        async with held:
            if wait_seconds:  # nobody knows when in this time it was given
                asked_at = await _extended_at(held, ttl) or asked_at
            renewal = AsyncRenewal(lambda: held.extend(ttl), self._lives(ttl), asked_at)
            try:
                yield KeptLock(held, renewal)
            finally:
                await renewal.stop()

    async def extend(self, key: str, ttl: float, owner: str) -> bool:
        """Let the owner's lock live so long from now on; False if the owner does not hold it."""
        whole = self._whole(key)
        return await self._table.extend(whole, check_ttl(ttl), owner=check_owner(owner)) is not None

    async def extend_by_token(self, key: str, token: int, ttl: float | None = None) -> Lock | None:
        """As `extend`, for whoever has the token; return the lock as it is then."""
        whole = self._whole(key)
        lock = await self._table.extend(whole, self._lives(ttl), token=check_token(token))
        return None if lock is None else self._told(lock)

    async def release(self, key: str, token: int) -> bool:
        """Free the lock; False if it is not held with this token."""
        return await self._table.release(self._whole(key), check_token(token))

    async def force_release(self, key: str) -> bool:
        """Free the lock, whoever holds it; False if nobody does."""
        return await self._table.force_release(self._whole(key))

    async def find(self, key: str) -> Lock | None:
        """Return the lock if somebody holds it."""
        lock = await self._table.find(self._whole(key))
        return None if lock is None else self._told(lock)

    async def holders(self, limit: int = MOST_LISTED, after: str | None = None) -> Sequence[Lock]:
        """Return the locks that are held, in the order of their keys; `after` is the last one seen."""
        start = None if after is None else self._prefix + after
        return [self._told(lock) for lock in await self._table.holders(self._prefix, limit, start)]

    def _lives(self, ttl: float | None) -> float:
        return self._ttl if ttl is None else check_ttl(ttl)

    def _whole(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _told(self, lock: Lock) -> Lock:
        return replace(lock, key=lock.key.removeprefix(self._prefix)) if self._prefix else lock


async def _extended_at(held: HeldLock, ttl: float | None) -> float | None:
    asked_at = monotonic()
    return asked_at if await held.extend(ttl) else None
