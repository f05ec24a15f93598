"""The port for what programs coordinate themselves by.

Keys come whole (with their prefix), checked, and values as the text of their JSON. Every time to live is
counted by the store's own clock. Every method raises StoreUnavailable when the store cannot be reached.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from podling.core.coordination import Breaker, BreakerState, Checkpoint, Claim, Lock, Outcome, Permit
from podling.core.pattern import Pattern


class Locks(Protocol):
    """Tokens grow with every lock that is given, whatever became of those before."""

    async def acquire(self, key: str, owner: str, ttl: float, wait_seconds: float = 0.0) -> Lock | None:
        """Take the lock, if it is free and nobody waits for it, or the owner's already.

        With `wait_seconds`, wait for it in line; who is cancelled leaves the line, and what was given to
        them meanwhile is given back.
        """

    async def extend(
        self, key: str, ttl: float, *, owner: str | None = None, token: int | None = None
    ) -> Lock | None:
        """Let it live so long from now on; None if it is not held by this owner, with this token."""

    async def release(self, key: str, token: int) -> bool:
        """Free it; False if it is not held with this token."""

    async def force_release(self, key: str) -> bool:
        """Free it, whoever holds it; False if nobody does."""

    async def find(self, key: str) -> Lock | None:
        """Return the lock if somebody holds it."""

    async def holders(self, prefix: str, limit: int, after: str | None = None) -> Sequence[Lock]:
        """Return the locks that are held, in the order of their keys."""


class Breakers(Protocol):
    """The rules are those of `podling.core.breaker`."""

    async def find(self, key: str) -> Breaker:
        """Return the breaker; a closed one if nobody has used it."""

    async def put(self, key: str, state: BreakerState, cool_down: float) -> Breaker: ...

    async def record_failure(self, key: str, max_failures: int, cool_down: float) -> Breaker: ...

    async def record_success(self, key: str) -> Breaker: ...

    async def allow(self, key: str) -> Permit:
        """Say whether the caller may go ahead; of a half open breaker only one may."""

    async def all(self, prefix: str, limit: int, after: str | None = None) -> Sequence[Breaker]:
        """Return the breakers in the order of their keys."""

    def changes(self, key: str) -> AsyncIterator[Breaker]:
        """Yield the breaker as it is, and again whenever its state has changed, for ever."""


class Cache(Protocol):
    async def get(self, key: str) -> str | None: ...

    async def put(self, key: str, value: str, ttl: float | None) -> bool:
        """Keep the value; return whether the key is new."""

    async def delete(self, key: str) -> bool: ...

    async def clear(self, prefix: str) -> int:
        """Remove what has the prefix; return how many could be read until now."""

    async def keys(self, pattern: Pattern, limit: int, after: str | None = None) -> Sequence[str]:
        """Return keys in their order."""

    async def size(self, prefix: str) -> int: ...

    async def prune(self, prefix: str) -> int:
        """Remove what has run out; return how many those were."""


class Checkpoints(Protocol):
    async def save(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep it under the next sequence of its task, whatever it says itself of that and of the time.

        Raises StaleAttempt if a later attempt has saved one.
        """

    async def save_from_inside(self, checkpoint: Checkpoint, keep: int) -> Checkpoint:
        """As `save`, but of the task only the last `keep` stay.

        Raises StaleAttempt unless this is the live attempt of a task that the store has.
        """

    async def find(self, checkpoint_id: str) -> Checkpoint | None: ...

    async def latest(self, task_id: str) -> Checkpoint | None: ...

    async def list(self, task_id: str) -> Sequence[Checkpoint]:
        """Return the task's checkpoints in the order of their sequence."""

    async def newest(self, task_id: str, limit: int, before: int | None = None) -> Sequence[Checkpoint]:
        """Return the last ones, the newest first: those with a sequence before the one given."""

    async def cleanup(self, task_id: str, keep: int) -> int:
        """Remove all but the last `keep`; return how many."""

    async def delete_all(self, task_id: str) -> int: ...


class Idempotency(Protocol):
    async def claim(self, key: str, ttl: float) -> Claim:
        """Be the first, or be told what the first has made of it."""

    async def put(self, key: str, value: str, ttl: float | None, token: int | None = None) -> bool:
        """Keep the result; False if, with a token, the key is not claimed with it any more."""

    async def get(self, key: str) -> Outcome | None: ...

    async def delete(self, key: str) -> bool: ...


class Coordination(Protocol):
    """What a store has for coordination."""

    @property
    def locks(self) -> Locks: ...

    @property
    def breakers(self) -> Breakers: ...

    @property
    def cache(self) -> Cache: ...

    @property
    def checkpoints(self) -> Checkpoints: ...

    @property
    def idempotency(self) -> Idempotency: ...

    async def forget(self) -> int:
        """Remove what has run out, everywhere; return how much that was."""

    async def close(self) -> None:
        """Stop what waits; what the store itself holds stays open."""
