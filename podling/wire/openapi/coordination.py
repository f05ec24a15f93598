"""Locks, breakers, the cache and idempotency keys, in the contract."""

from podling.core.coordination import Breaker, BreakerState, ClaimStatus, Lock
from podling.core.coordination_rules import (
    DEFAULT_CLAIM_SECONDS,
    DEFAULT_COOL_DOWN_SECONDS,
    DEFAULT_LOCK_SECONDS,
    DEFAULT_MAX_FAILURES,
    LEAST_SECONDS,
    MOST_COUNT,
    MOST_KEY_CHARACTERS,
    MOST_SECONDS,
    MOST_VALUE_BYTES,
)
from podling.wire.coordination import (
    BREAKER_OUTPUT_ONLY,
    MOST_REQUEST_WAIT_SECONDS,
    OUTCOME_OUTPUT_ONLY,
)
from podling.wire.openapi.nodes import MESSAGE
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    components_of,
    nullable,
    reference,
)

TAG = "coordination"
ABOUT = (
    "What programs agree by: locks with fencing tokens, circuit breakers, a cache, idempotency keys. The "
    f"store's clock counts every time to live. A key has at most {MOST_KEY_CHARACTERS} characters, a value "
    f"at most {MOST_VALUE_BYTES} bytes of JSON."
)

_SECONDS = NUMBER | {"minimum": LEAST_SECONDS, "maximum": MOST_SECONDS}
_TOKEN = INTEGER | {"minimum": 1, "maximum": 2**63 - 1}
_LIVES = "How long it lives; without it, for ever."


def _seconds(default: float) -> Schema:
    return _SECONDS | {"default": default}


def _ignored(names: frozenset[str]) -> dict[str, Schema]:
    return {name: {"description": "Ignored: output only."} for name in sorted(names)}


def _wish(about: str, properties: dict[str, Schema], *required: str) -> Schema:
    return closed(about, properties, optional=[name for name in properties if name not in required])


_LIMITS = _wish(
    "When the breaker opens, and for how long.",
    {
        "maxFailures": INTEGER | {"minimum": 1, "maximum": MOST_COUNT, "default": DEFAULT_MAX_FAILURES},
        "coolDownSeconds": _seconds(DEFAULT_COOL_DOWN_SECONDS),
    },
)
_ACQUIRE = _wish(
    "Who wants the lock, for how long, and how long they would wait.",
    {
        "ttlSeconds": _seconds(DEFAULT_LOCK_SECONDS),
        "owner": STRING | {"minLength": 1, "maxLength": 253},
        "waitSeconds": NUMBER | {"minimum": 0, "maximum": MOST_REQUEST_WAIT_SECONDS, "default": 0},
    },
)
_EXTEND = _wish(
    "Whose lock it is, and how long it is to live from now on.",
    {"token": _TOKEN, "ttlSeconds": _seconds(DEFAULT_LOCK_SECONDS)},
    "token",
)
_RELEASE = _wish("Whose lock it is.", {"token": _TOKEN}, "token")
_PUT_BREAKER = _wish(
    "The state to set it to; an open one is half open after the cool-down.",
    _ignored(BREAKER_OUTPUT_ONLY)
    | {"state": reference("BreakerState"), "coolDownSeconds": _seconds(DEFAULT_COOL_DOWN_SECONDS)},
    "state",
)
_PUT_CACHED = _wish(
    "Any JSON; null is a value, too.",
    _ignored(frozenset({"key"})) | {"value": ANYTHING, "ttlSeconds": _SECONDS | {"description": _LIVES}},
    "value",
)
_PUT_OUTCOME = _wish(
    "What came of the work; with `token`, only if the claim is still that one.",
    _ignored(OUTCOME_OUTPUT_ONLY)
    | {"value": ANYTHING, "ttlSeconds": _SECONDS | {"description": _LIVES}, "token": _TOKEN},
    "value",
)
_CLAIM = _wish("How long the work may take.", {"ttlSeconds": _seconds(DEFAULT_CLAIM_SECONDS)})


def _permit(breaker: Schema) -> Schema:
    more = {"allowed": BOOLEAN, "retryAfterSeconds": nullable(NUMBER)}
    return closed("A breaker, and whether it lets the asker through.", breaker["properties"] | more)


_KINDS = components_of(Lock, Breaker)
SCHEMAS = _KINDS | {
    "Permit": _permit(_KINDS["Breaker"]),
    "BreakerState": {"type": "string", "enum": [state.value for state in BreakerState]},
    "CachedValue": closed("A value of the cache.", {"key": STRING, "value": ANYTHING}),
    "CacheStatistics": closed(
        "Hits and misses at the master that answers, since it began.",
        {"hits": INTEGER, "misses": INTEGER, "size": INTEGER, "ratio": NUMBER},
    ),
    "Claim": closed(
        "What is to be done.\n\n`claimed`: do the work, and PUT what comes of it with the `token`. "
        "`in_progress`: somebody else does. `done`: `value` is what came of it.",
        {
            "status": {"type": "string", "enum": [status.value for status in ClaimStatus]},
            "value": ANYTHING,
            "token": nullable(INTEGER),
        },
    ),
    "Outcome": closed(
        "What came of the work.", {"key": STRING, "value": ANYTHING, "expiresAt": nullable(TIME)}
    ),
}

_KEPT = closed("It is kept.", {"key": STRING})
_REMOVED = closed("How many there were.", {"removed": INTEGER})
_LOCK, _BREAKER = reference("Lock"), reference("Breaker")
_LOCKS, _BREAKERS = "/api/v1/locks", "/api/v1/breakers"
_CACHE, _IDEMPOTENCY = "/api/v1/cache", "/api/v1/idempotency"
_PAGED = paged(start="first key")

OPERATIONS = {
    f"GET {_LOCKS}": Operation(
        summary="List the locks that are held, by their keys",
        tag=TAG,
        parameters=_PAGED,
        answers={200: array(_LOCK)},
        is_list=True,
    ),
    f"GET {_LOCKS}/{{key}}": Operation(summary="Read a lock that is held", tag=TAG, answers={200: _LOCK}),
    f"POST {_LOCKS}/{{key}}/acquire": Operation(
        summary="Take a lock, or wait for it in line",
        tag=TAG,
        description="409 `lock_held` if somebody else has it, or still has it after `waitSeconds`; who "
        "hangs up leaves the line. The same `owner` may acquire again, and gets a new token. A token is "
        "greater than every one before, whatever became of those.",
        body=_ACQUIRE,
        body_optional=True,
        example={"ttlSeconds": 30, "owner": "importer-1", "waitSeconds": 10},
        answers={200: _LOCK},
    ),
    f"POST {_LOCKS}/{{key}}/extend": Operation(
        summary="Let a lock live longer",
        tag=TAG,
        description="409 `lock_not_held` with any token but the holder's.",
        body=_EXTEND,
        example={"token": 1, "ttlSeconds": 30},
        answers={200: _LOCK},
    ),
    f"POST {_LOCKS}/{{key}}/release": Operation(
        summary="Free a lock",
        tag=TAG,
        description="409 `lock_not_held` with any token but the holder's.",
        body=_RELEASE,
        example={"token": 1},
        answers={200: MESSAGE},
    ),
    f"DELETE {_LOCKS}/{{key}}": Operation(
        summary="Free a lock, whoever holds it", tag=TAG, answers={200: MESSAGE}
    ),
    f"GET {_BREAKERS}": Operation(
        summary="List breakers, by their keys",
        tag=TAG,
        parameters=_PAGED,
        answers={200: array(_BREAKER)},
        is_list=True,
    ),
    f"GET {_BREAKERS}/{{key}}": Operation(
        summary="Read a breaker",
        tag=TAG,
        description="One that nobody has used is closed.",
        answers={200: _BREAKER},
    ),
    f"PUT {_BREAKERS}/{{key}}": Operation(
        summary="Set a breaker by hand",
        tag=TAG,
        body=_PUT_BREAKER,
        example={"state": "closed"},
        answers={200: _BREAKER},
    ),
    f"POST {_BREAKERS}/{{key}}/failure": Operation(
        summary="Count a failure",
        tag=TAG,
        description="Opens the breaker at `maxFailures` since the last success, and when it is half open.",
        body=_LIMITS,
        body_optional=True,
        example={"maxFailures": 5, "coolDownSeconds": 30},
        answers={200: _BREAKER},
    ),
    f"POST {_BREAKERS}/{{key}}/success": Operation(
        summary="Count a success",
        tag=TAG,
        description="Closes the breaker if it is half open, and has it count anew if it is closed.",
        answers={200: _BREAKER},
    ),
    f"POST {_BREAKERS}/{{key}}/allow": Operation(
        summary="Ask whether to go ahead",
        tag=TAG,
        description="Yes if it is closed. If it is half open, one asker may: tell what came of it.",
        answers={200: reference("Permit")},
    ),
    f"GET {_CACHE}": Operation(
        summary="List keys of the cache",
        tag=TAG,
        parameters=(
            Parameter(
                name="pattern",
                description="A glob if it has a `*`; else one of SQL's LIKE, with `%` and `_`. A backslash "
                "makes a letter of the next character.",
            ),
            *_PAGED,
        ),
        answers={200: array(STRING)},
        is_list=True,
    ),
    f"DELETE {_CACHE}": Operation(summary="Clear the cache", tag=TAG, answers={200: _REMOVED}),
    f"GET {_CACHE}:statistics": Operation(
        summary="Read the cache's statistics", tag=TAG, answers={200: reference("CacheStatistics")}
    ),
    f"POST {_CACHE}:prune": Operation(
        summary="Remove what has run out",
        tag=TAG,
        description="The leader does so by itself, now and then.",
        answers={200: _REMOVED},
    ),
    f"GET {_CACHE}/{{key}}": Operation(
        summary="Read a value", tag=TAG, answers={200: reference("CachedValue")}
    ),
    f"PUT {_CACHE}/{{key}}": Operation(
        summary="Keep a value",
        tag=TAG,
        body=_PUT_CACHED,
        example={"value": {"rate": 1.08}, "ttlSeconds": 60},
        answers={200: _KEPT, 201: _KEPT},
    ),
    f"DELETE {_CACHE}/{{key}}": Operation(summary="Remove a value", tag=TAG, answers={200: MESSAGE}),
    f"POST {_IDEMPOTENCY}/{{key}}/claim": Operation(
        summary="Be the first to do the work of a key, or be told what came of it",
        tag=TAG,
        body=_CLAIM,
        body_optional=True,
        example={"ttlSeconds": 600},
        answers={200: reference("Claim")},
    ),
    f"PUT {_IDEMPOTENCY}/{{key}}": Operation(
        summary="Keep what came of the work",
        tag=TAG,
        description="409 `claim_lost` with the token of a claim that has run out.",
        body=_PUT_OUTCOME,
        example={"value": {"invoice": 17}, "ttlSeconds": 86400},
        answers={200: _KEPT},
    ),
    f"GET {_IDEMPOTENCY}/{{key}}": Operation(
        summary="Read what came of the work", tag=TAG, answers={200: reference("Outcome")}
    ),
    f"DELETE {_IDEMPOTENCY}/{{key}}": Operation(
        summary="Forget what came of the work, or the claim", tag=TAG, answers={200: MESSAGE}
    ),
}
