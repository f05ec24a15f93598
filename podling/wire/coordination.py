"""Locks, breakers, the cache and idempotency keys on the wire."""

from collections.abc import Mapping
from typing import Any

import orjson

from podling.core.coordination import Breaker, BreakerState, CacheStatistics, Claim, Lock, Outcome, Permit
from podling.core.coordination_rules import (
    DEFAULT_CLAIM_SECONDS,
    DEFAULT_COOL_DOWN_SECONDS,
    DEFAULT_LOCK_SECONDS,
    DEFAULT_MAX_FAILURES,
    MOST_COUNT,
    check_owner,
    check_token,
    check_ttl,
    check_wait,
    check_whole,
    to_text,
)
from podling.core.errors import InvalidInput
from podling.core.fields import one_of
from podling.core.value import value
from podling.wire.body import refuse_unknown
from podling.wire.codec import to_plain

MOST_REQUEST_WAIT_SECONDS = 600.0
"""How long a master holds a request that waits for a lock; whoever wants more asks again."""

BREAKER_OUTPUT_ONLY = frozenset("key failureCount lastFailureAt lastSuccessAt openedAt".split())
OUTCOME_OUTPUT_ONLY = frozenset({"key", "expiresAt"})


@value
class AcquireRequest:
    ttl_seconds: float
    owner: str | None
    wait_seconds: float


@value
class Limits:
    """When a breaker opens, and how long it cools down then."""

    max_failures: int
    cool_down_seconds: float


@value
class Kept:
    """A value, and how long it lives: None for ever. `token` is that of a claim."""

    value: Any
    ttl_seconds: float | None
    token: int | None = None


def parse_acquire(plain: Mapping[str, Any]) -> AcquireRequest:
    given = _given(plain, "ttlSeconds", "owner", "waitSeconds")
    return AcquireRequest(
        ttl_seconds=check_ttl(given.get("ttlSeconds", DEFAULT_LOCK_SECONDS)),
        owner=check_owner(given["owner"]) if "owner" in given else None,
        wait_seconds=check_wait(given.get("waitSeconds", 0), most=MOST_REQUEST_WAIT_SECONDS),
    )


def parse_extend(plain: Mapping[str, Any]) -> tuple[int, float]:
    """Return the token, and how long the lock is to live from now on."""
    given = _given(plain, "token", "ttlSeconds")
    return _token(given), check_ttl(given.get("ttlSeconds", DEFAULT_LOCK_SECONDS))


def parse_release(plain: Mapping[str, Any]) -> int:
    return _token(_given(plain, "token"))


def parse_limits(plain: Mapping[str, Any]) -> Limits:
    given = _given(plain, "maxFailures", "coolDownSeconds")
    most = given.get("maxFailures", DEFAULT_MAX_FAILURES)
    return Limits(
        max_failures=check_whole(most, "maxFailures", 1, MOST_COUNT), cool_down_seconds=_cool(given)
    )


def parse_breaker(plain: Mapping[str, Any]) -> tuple[BreakerState, float]:
    """Return the state that somebody sets, and the cool-down."""
    known = {name: item for name, item in plain.items() if name not in BREAKER_OUTPUT_ONLY}
    given = _given(known, "state", "coolDownSeconds")
    if "state" not in given:
        raise InvalidInput.field("state", "is required")
    return one_of(BreakerState, "state", given["state"]), _cool(given)


def parse_cached(plain: Mapping[str, Any]) -> Kept:
    return _kept(plain, frozenset({"key"}), frozenset())


def parse_outcome(plain: Mapping[str, Any]) -> Kept:
    return _kept(plain, OUTCOME_OUTPUT_ONLY, frozenset({"token"}))


def parse_claim(plain: Mapping[str, Any]) -> float:
    return check_ttl(_given(plain, "ttlSeconds").get("ttlSeconds", DEFAULT_CLAIM_SECONDS))


def _kept(plain: Mapping[str, Any], output_only: frozenset[str], more: frozenset[str]) -> Kept:
    """Here null is a value as good as any other."""
    refuse_unknown(plain, output_only | more | {"value", "ttlSeconds"})
    if "value" not in plain:
        raise InvalidInput.field("value", "is required")
    ttl, token = plain.get("ttlSeconds"), plain.get("token")
    return Kept(
        value=plain["value"],
        ttl_seconds=None if ttl is None else check_ttl(ttl),
        token=None if token is None else check_token(token),
    )


def _given(plain: Mapping[str, Any], *known: str) -> dict[str, Any]:
    given = {name: item for name, item in plain.items() if item is not None}
    refuse_unknown(given, frozenset(known))
    return given


def _token(given: Mapping[str, Any]) -> int:
    if "token" not in given:
        raise InvalidInput.field("token", "is required")
    return check_token(given["token"])


def _cool(given: Mapping[str, Any]) -> float:
    return check_ttl(given.get("coolDownSeconds", DEFAULT_COOL_DOWN_SECONDS), "coolDownSeconds")


def lock_view(lock: Lock) -> dict[str, Any]:
    return to_plain(lock)  # type: ignore[no-any-return]


def breaker_view(breaker: Breaker) -> dict[str, Any]:
    return to_plain(breaker)  # type: ignore[no-any-return]


def permit_view(permit: Permit) -> dict[str, Any]:
    """Return the breaker, and whether its asker may go ahead."""
    more = {"allowed": permit.allowed, "retryAfterSeconds": permit.retry_after_seconds}
    return breaker_view(permit.breaker) | more


def statistics_view(seen: CacheStatistics) -> dict[str, Any]:
    return {"hits": seen.hits, "misses": seen.misses, "size": seen.size, "ratio": seen.ratio}


def value_view(value: Any) -> orjson.Fragment:
    """Return a value as it is kept: the library takes numbers and depths that the usual writer does not."""
    return orjson.Fragment(to_text(value))


def cached_view(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value_view(value)}


def claim_view(claim: Claim) -> dict[str, Any]:
    return {"status": claim.status.value, "value": value_view(claim.value), "token": claim.token}


def outcome_view(outcome: Outcome) -> dict[str, Any]:
    value, ends = value_view(outcome.value), to_plain(outcome.expires_at)
    return {"key": outcome.key, "value": value, "expiresAt": ends}
