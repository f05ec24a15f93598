"""Every error that Podling raises on purpose.

    PodlingError
    ├── InvalidInput            what was sent cannot be accepted, whoever sends it
    │   ├── TooLarge
    │   ├── UnsupportedMediaType
    │   └── RequestTimeout      the rest of it did not come in time
    ├── Unauthorized            no, or no valid, credential
    ├── Forbidden               a credential without the right
    │   └── PolicyDenied        an operator's rule says no
    ├── NotFound
    ├── Conflict                right in itself, wrong in the present state
    │   ├── IllegalTransition
    │   ├── StaleAttempt
    │   ├── IdempotencyMismatch
    │   ├── StaleSession
    │   ├── LockNotHeld         the lock is somebody else's by now, or nobody's
    │   ├── LockNotAcquired     somebody else holds it
    │   └── ClaimLost           an idempotency key that was claimed is somebody else's by now
    ├── TooManyRequests
    ├── Unavailable             try again later
    │   ├── StoreUnavailable
    │   ├── StaleEpoch          this master is no longer the leader
    │   ├── DeadlineExceeded
    │   └── BreakerIsOpen       a circuit breaker lets nobody through at present
    ├── ConfigurationError      a setting that has to be changed before the program can start
    └── RuntimeFailure          a container runtime could not do what it was told

The message is a sentence that a person can act on; `code` is for programs; `details` is JSON.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class PodlingError(Exception):
    """The root; `code` may be given to tell cases of one class apart."""

    default_code: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, code: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details: dict[str, Any] = dict(details or {})


class InvalidInput(PodlingError):
    default_code = "invalid_input"

    @classmethod
    def field(cls, name: str, problem: str) -> "InvalidInput":
        """Refuse the field `name` (its outside name): `field("image", "must not be empty")`."""
        return cls(f"{name}: {problem}", code="invalid_field", details={"field": name})


class TooLarge(InvalidInput):
    default_code = "payload_too_large"


class UnsupportedMediaType(InvalidInput):
    default_code = "unsupported_media_type"


class RequestTimeout(InvalidInput):
    default_code = "request_timeout"


class Unauthorized(PodlingError):
    default_code = "unauthorized"


class Forbidden(PodlingError):
    default_code = "forbidden"


class PolicyDenied(Forbidden):
    default_code = "policy_denied"


class NotFound(PodlingError):
    default_code = "not_found"

    @classmethod
    def of(cls, kind: str) -> "NotFound":
        """`NotFound.of("task")` says `task not found`, as the reference does."""
        return cls(f"{kind} not found", code=f"{kind}_not_found")


class Conflict(PodlingError):
    default_code = "conflict"


class IllegalTransition(Conflict):
    default_code = "illegal_transition"


class StaleAttempt(Conflict):
    default_code = "stale_attempt"


class IdempotencyMismatch(Conflict):
    default_code = "idempotency_mismatch"


class StaleSession(Conflict):
    default_code = "stale_session"


class LockNotHeld(Conflict):
    default_code = "lock_not_held"


class LockNotAcquired(Conflict):
    default_code = "lock_held"


class ClaimLost(Conflict):
    default_code = "claim_lost"


class TooManyRequests(PodlingError):
    default_code = "too_many_requests"


class Unavailable(PodlingError):
    default_code = "unavailable"


class StoreUnavailable(Unavailable):
    default_code = "store_unavailable"


class StaleEpoch(Unavailable):
    default_code = "stale_epoch"


class DeadlineExceeded(Unavailable):
    default_code = "deadline_exceeded"


class BreakerIsOpen(Unavailable):
    default_code = "breaker_open"


class ConfigurationError(PodlingError):
    default_code = "configuration"


class RuntimeFailure(PodlingError):
    """`code` is one of the error codes of `podling.core.retry`, such as `IMAGE_PULL`."""

    default_code = "RUNTIME"
