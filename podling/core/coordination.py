"""What programs coordinate themselves by: locks, breakers, a cache, checkpoints, idempotency keys."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from podling.core.value import value


@value
class Lock:
    """A lock that is held. `token` is greater than that of every holder before."""

    key: str
    owner: str
    token: int
    acquired_at: datetime
    expires_at: datetime


class BreakerState(StrEnum):
    CLOSED = "closed"  # everybody may
    OPEN = "open"  # nobody may
    HALF_OPEN = "half_open"  # one may try


@value
class Breaker:
    """A breaker as it stands now. `failure_count` is of the failures since the last success."""

    key: str
    state: BreakerState = BreakerState.CLOSED
    failure_count: int = 0
    last_failure_at: datetime | None = None
    last_success_at: datetime | None = None
    opened_at: datetime | None = None


@value
class Permit:
    """Whether the breaker lets a caller through; if not, it may be worth asking again after so long."""

    allowed: bool
    breaker: Breaker
    retry_after_seconds: float | None = None


@value
class CacheStatistics:
    """Hits and misses of this program, since it began; `size` is of all keys that can be read."""

    hits: int
    misses: int
    size: int

    @property
    def ratio(self) -> float:
        """Return the share of hits; 0 before the first question."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


@value
class Checkpoint:
    """How far a task has come, and what it needs to go on from there. `progress` is in percent."""

    checkpoint_id: str
    task_id: str
    attempt: int
    sequence: int
    at: datetime
    progress: float | None = None
    data: Any = None
    estimated_seconds_remaining: float | None = None


class ClaimStatus(StrEnum):
    CLAIMED = "claimed"  # by the caller, who does the work now
    IN_PROGRESS = "in_progress"  # somebody else does it
    DONE = "done"  # the value says what came of it


@value
class Claim:
    """What came of a claim. `token` is the claimer's, who stores the result with it."""

    status: ClaimStatus
    value: Any = None
    token: int | None = None


@value
class Outcome:
    """A result that was stored under an idempotency key."""

    key: str
    value: Any
    expires_at: datetime | None = None
