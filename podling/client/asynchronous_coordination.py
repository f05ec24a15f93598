"""Locks, breakers, the cache and idempotency keys, for programs that have a master and no database."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any, Self, cast

from podling.client import coordination as calls
from podling.client.asynchronous_base import PAGE, AsyncCaller
from podling.client.call import Call
from podling.client.operator_models import Breaker, CacheStatistics, Claim, Lock, Outcome, Permit
from podling.client.program import MASTER_AWAY_SECONDS
from podling.core.errors import BreakerIsOpen, Conflict, LockNotAcquired, NotFound, PodlingError
from podling.kit.asynchronous_guard import AsyncBreakerGuard, breaker_is_open
from podling.kit.asynchronous_renewal import AsyncRenewal, AsyncSignal
from podling.kit.lease import monotonic

LOCK_SECONDS = 30.0
MAX_FAILURES = 5
COOL_DOWN_SECONDS = 30.0
RELEASE_SECONDS = 30.0


class AsyncHeldLock:
    """A lock that is held for as long as its block runs, and renewed meanwhile.

    `lost` is set when it could not be renewed, or somebody freed it: stop then. It is set in time by this
    machine's clock even if nothing answers. What must not be written twice is to refuse a `token` smaller
    than the last one that it has seen.
    """

    def __init__(
        self,
        client: "AsyncCoordination",
        key: str,
        ttl_seconds: float,
        owner: str | None,
        wait_seconds: float,
    ) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._wait_seconds = wait_seconds
        self._renewal: AsyncRenewal | None = None
        self.key = key
        self.owner = owner or os.urandom(16).hex()
        self.token = 0
        self.lost = AsyncSignal()

    async def __aenter__(self) -> Self:
        """Raise LockNotAcquired if somebody else has it, and still has it after waiting."""
        if not await self.acquire():
            raise LockNotAcquired(f"the lock {self.key} is held by somebody else", details={"key": self.key})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    async def acquire(self) -> bool:
        """Take it, and renew it from now on; False if it is not to be had."""
        asked_at = monotonic()
        lock = await self._given()
        if lock is None:
            return False
        self.token = lock["token"]
        if self._wait_seconds:  # nobody knows when in this time it was given
            asked_at = monotonic()
            if not await self._begun_anew():
                return False
        self._renewal = AsyncRenewal(self.extend, self._ttl_seconds, asked_at)
        self.lost = self._renewal.lost
        return True

    async def extend(self) -> bool:
        """Let it live for its whole time from now on; False if it is not this one's any more."""
        return await self._client.extend_lock(self.key, self.token, self._ttl_seconds)

    async def release(self) -> bool:
        """Free it; False if it is not this one's any more.

        Masters that are away, or have too much to do, are asked again for a while.
        """
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            await renewal.stop()
        call = calls.give_back(self.key, self.token)
        return await _held(self._client, call.patient(min(self._ttl_seconds, RELEASE_SECONDS)))

    async def _begun_anew(self) -> bool:
        """Extend it as soon as it is given; free it if nobody is to have it after all."""
        call = calls.extend(self.key, self.token, self._ttl_seconds)
        try:
            return await _held(self._client, call.patient(self._ttl_seconds))
        except BaseException:
            with suppress(PodlingError):
                await self.release()
            raise

    async def _given(self) -> Lock | None:
        """Ask until it is given, or the time to wait is over."""
        until = monotonic() + self._wait_seconds
        left = self._wait_seconds
        while True:
            wait_seconds = min(max(left, 0.0), calls.MOST_WAIT_SECONDS)
            call = calls.acquire(self.key, self.owner, self._ttl_seconds, wait_seconds)
            try:
                patience = min(max(left, 0.0), MASTER_AWAY_SECONDS)
                return cast(Lock, await self._client.send(call.patient(patience)))
            except Conflict as error:
                left = until - monotonic()
                if error.code != LockNotAcquired.default_code:
                    raise
                if left <= 0:
                    return None


class AsyncGuard(AsyncBreakerGuard[Permit]):
    """A circuit breaker: as a context manager, or a decorator, it lets nothing run while it is open."""

    def __init__(
        self,
        client: "AsyncCoordination",
        key: str,
        max_failures: int,
        cool_down_seconds: float,
        counts: tuple[type[BaseException], ...],
    ) -> None:
        super().__init__(key, counts)
        self._client = client
        self._max_failures = max_failures
        self._cool_down_seconds = cool_down_seconds

    async def state(self) -> Breaker:
        """Return the breaker as it is now."""
        return cast(Breaker, await self._client.send(calls.breaker(self.key)))

    async def set_state(self, state: str) -> Breaker:
        """Set it by hand: `closed`, `open` or `half_open`."""
        return cast(
            Breaker, await self._client.send(calls.set_breaker(self.key, state, self._cool_down_seconds))
        )

    async def record_failure(self) -> Breaker:
        call = calls.failure(self.key, self._max_failures, self._cool_down_seconds)
        return cast(Breaker, await self._client.send(call))

    async def record_success(self) -> Breaker:
        return cast(Breaker, await self._client.send(calls.success(self.key)))

    async def allow(self) -> Permit:
        """Ask whether to go ahead; who may while it is half open has to tell what came of it."""
        return cast(Permit, await self._client.send(calls.allow(self.key)))

    def _refusal(self, permit: Permit) -> BreakerIsOpen | None:
        if permit["allowed"]:
            return None
        wait = permit["retryAfterSeconds"]
        return breaker_is_open(self.key, permit["state"], permit["failureCount"], wait)


class AsyncCache:
    """The cache that all programs of a cluster share: JSON values by their keys."""

    def __init__(self, client: "AsyncCoordination") -> None:
        self._client = client

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value; `default` if there is none, or its time is over."""
        try:
            return (await self._client.send(calls.cached(key)))["value"]
        except NotFound:
            return default

    async def has(self, key: str) -> bool:
        nothing = object()
        return await self.get(key, nothing) is not nothing

    async def set(self, key: str, value: Any, ttl_seconds: float | None = None) -> None:
        """Keep a value for so many seconds, None for ever."""
        await self._client.send(calls.cache(key, value, ttl_seconds))

    async def delete(self, key: str) -> bool:
        """Remove it; False if it was not there."""
        return await _found(self._client, calls.uncache(key))

    def keys(self, pattern: str = "*", *, limit: int | None = None, page: int = PAGE) -> AsyncIterator[str]:
        """Yield keys in their order: by a glob if the pattern has a `*`, else by one of SQL's LIKE."""
        listing = partial(calls.cached_keys, pattern)
        return cast(AsyncIterator[str], self._client.items(listing, limit=limit, page=page))

    async def clear(self) -> int:
        """Remove everything; return how many that were."""
        return int((await self._client.send(calls.clear_cache()))["removed"])

    async def prune(self) -> int:
        """Remove what has run out; return how many those were."""
        return int((await self._client.send(calls.prune_cache()))["removed"])

    async def statistics(self) -> CacheStatistics:
        """Return the hits and misses at the master that answers, and how many keys there are."""
        return cast(CacheStatistics, await self._client.send(calls.cache_statistics()))


class AsyncIdempotency:
    """Of all that ask for the same work, one does it, and the others get what came of it."""

    def __init__(self, client: "AsyncCoordination") -> None:
        self._client = client

    async def claim(self, key: str, ttl_seconds: float | None = None) -> Claim:
        """Be the first (`claimed`: do the work, and `set` its result with the claim's token), or be told
        that somebody works on it (`in_progress`), or what came of it (`done`)."""
        return cast(Claim, await self._client.send(calls.claim(key, ttl_seconds)))

    async def set(
        self, key: str, value: Any, ttl_seconds: float | None = None, *, token: int | None = None
    ) -> None:
        """Keep the result. Raises Conflict (code `claim_lost`) if the claim of this token has run out."""
        await self._client.send(calls.save_outcome(key, value, ttl_seconds, token))

    async def get(self, key: str) -> Outcome | None:
        """Return the result; None if there is none, or not yet."""
        try:
            return cast(Outcome, await self._client.send(calls.outcome(key)))
        except NotFound:
            return None

    async def delete(self, key: str) -> bool:
        """Forget the result, or the claim; False if there was none."""
        return await _found(self._client, calls.forget_outcome(key))


class AsyncCoordination(AsyncCaller):
    """What programs agree by."""

    @property
    def cache(self) -> AsyncCache:
        return AsyncCache(self)

    @property
    def idempotency(self) -> AsyncIdempotency:
        return AsyncIdempotency(self)

    def lock(
        self,
        key: str,
        ttl_seconds: float = LOCK_SECONDS,
        *,
        owner: str | None = None,
        wait_seconds: float = 0.0,
    ) -> AsyncHeldLock:
        """Return a lock, to be used as a context manager; nothing is asked for before that.

        It is renewed while the block runs, so that `ttl_seconds` says only how soon others get it when
        this program dies.
        """
        return AsyncHeldLock(self, key, ttl_seconds, owner, wait_seconds)

    def locks(self, *, limit: int | None = None, page: int = PAGE) -> AsyncIterator[Lock]:
        """Yield the locks that are held, by their keys."""
        return cast(AsyncIterator[Lock], self.items(calls.locks, limit=limit, page=page))

    async def find_lock(self, key: str) -> Lock | None:
        """Return the lock if somebody holds it."""
        try:
            return cast(Lock, await self.send(calls.find_lock(key)))
        except NotFound:
            return None

    async def extend_lock(self, key: str, token: int, ttl_seconds: float = LOCK_SECONDS) -> bool:
        """Let it live so long from now on; False if it is not held with this token."""
        return await _held(self, calls.extend(key, token, ttl_seconds))

    async def release_lock(self, key: str, token: int) -> bool:
        """Free it; False if it is not held with this token."""
        return await _held(self, calls.release(key, token))

    async def force_release_lock(self, key: str) -> bool:
        """Free it, whoever holds it; False if nobody does."""
        return await _found(self, calls.force_release(key))

    def breaker(
        self,
        key: str,
        max_failures: int = MAX_FAILURES,
        cool_down_seconds: float = COOL_DOWN_SECONDS,
        *,
        counts: tuple[type[BaseException], ...] = (Exception,),
    ) -> AsyncGuard:
        """Return a breaker, to be used as a context manager or a decorator; until then nothing is asked."""
        return AsyncGuard(self, key, max_failures, cool_down_seconds, counts)

    def breakers(self, *, limit: int | None = None, page: int = PAGE) -> AsyncIterator[Breaker]:
        """Yield the breakers that were used, by their keys."""
        return cast(AsyncIterator[Breaker], self.items(calls.breakers, limit=limit, page=page))


async def _found(client: AsyncCaller, call: Call[Any]) -> bool:
    try:
        await client.send(call)
    except NotFound:
        return False
    return True


async def _held(client: AsyncCaller, call: Call[Any]) -> bool:
    try:
        await client.send(call)
    except Conflict as error:
        if error.code == "lock_not_held":
            return False
        raise
    return True
