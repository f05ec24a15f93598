"""The calls about locks, breakers, the cache and idempotency keys."""

import json
import re
from dataclasses import replace
from typing import Any

from podling.client.call import Call, JsonObject, Page, T, get, json_object, json_page, path_of, post
from podling.core.coordination_rules import to_text
from podling.core.errors import InvalidInput

MOST_WAIT_SECONDS = 600.0
"""As a master holds a request; whoever wants to wait for longer asks again."""

_LONG_NUMBER = re.compile("[0-9]{19}")


def _changed(call: Call[T], method: str) -> Call[T]:
    """Return a call whose effect is the same however often it is sent."""
    return replace(call, request=replace(call.request, method=method, repeatable=True))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: item for name, item in fields.items() if item is not None}


def _carried(value: Any) -> Any:
    """Return a value that arrives as it is. Raises InvalidInput, TooLarge."""
    text = to_text(value)
    if _LONG_NUMBER.search(text):
        json.loads(text, parse_int=_refuse_beyond_64_bits)
    return value


def _refuse_beyond_64_bits(digits: str) -> None:
    if not -(2**63) <= int(digits) < 2**64:
        problem = "has a whole number beyond 64 bits, which a request does not carry; write it as text"
        raise InvalidInput.field("value", problem)


def acquire(
    key: str, owner: str, ttl_seconds: float | None = None, wait_seconds: float = 0.0
) -> Call[JsonObject]:
    """Take the lock, or wait for it; 409 `lock_held` if it is not to be had. Sent again: a new token."""
    body = _given(owner=owner, ttlSeconds=ttl_seconds, waitSeconds=wait_seconds or None)
    call = post(path_of("locks", key, "acquire"), json_object, body)
    return replace(call, request=replace(call.request, repeatable=True, answer_seconds=wait_seconds))


def extend(key: str, token: int, ttl_seconds: float | None = None) -> Call[JsonObject]:
    """Let the lock live so long from now on; 409 `lock_not_held` if it is somebody else's."""
    body = _given(token=token, ttlSeconds=ttl_seconds)
    return _changed(post(path_of("locks", key, "extend"), json_object, body), "POST")


def release(key: str, token: int) -> Call[JsonObject]:
    return post(path_of("locks", key, "release"), json_object, {"token": token})


def give_back(key: str, token: int) -> Call[JsonObject]:
    """As `release`, but sent again by itself: 409 may be about what an earlier one has done unheard."""
    return _changed(release(key, token), "POST")


def force_release(key: str) -> Call[JsonObject]:
    """Free the lock, whoever holds it."""
    call = post(path_of("locks", key), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))


def locks(limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List the locks that are held, by their keys."""
    return get(path_of("locks"), json_page, limit=limit, cursor=cursor)


def find_lock(key: str) -> Call[JsonObject]:
    return get(path_of("locks", key), json_object)


def breakers(limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List breakers, by their keys."""
    return get(path_of("breakers"), json_page, limit=limit, cursor=cursor)


def breaker(key: str) -> Call[JsonObject]:
    return get(path_of("breakers", key), json_object)


def set_breaker(key: str, state: str, cool_down_seconds: float | None = None) -> Call[JsonObject]:
    body = _given(state=state, coolDownSeconds=cool_down_seconds)
    return _changed(post(path_of("breakers", key), json_object, body), "PUT")


def failure(
    key: str, max_failures: int | None = None, cool_down_seconds: float | None = None
) -> Call[JsonObject]:
    """Count a failure. It is not sent again by itself: it might count twice."""
    body = _given(maxFailures=max_failures, coolDownSeconds=cool_down_seconds)
    return post(path_of("breakers", key, "failure"), json_object, body)


def success(key: str) -> Call[JsonObject]:
    return _changed(post(path_of("breakers", key, "success"), json_object), "POST")


def allow(key: str) -> Call[JsonObject]:
    """Ask whether to go ahead."""
    return post(path_of("breakers", key, "allow"), json_object)


def cached(key: str) -> Call[JsonObject]:
    return get(path_of("cache", key), json_object)


def cache(key: str, value: Any, ttl_seconds: float | None = None) -> Call[JsonObject]:
    """Keep a value; without `ttl_seconds` for ever."""
    body = {"value": _carried(value)} | _given(ttlSeconds=ttl_seconds)
    return _changed(post(path_of("cache", key), json_object, body), "PUT")


def uncache(key: str) -> Call[JsonObject]:
    call = post(path_of("cache", key), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))


def cached_keys(
    pattern: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[Page]:
    """List keys: by a glob if the pattern has a `*`, else by one of SQL's LIKE."""
    return get(path_of("cache"), json_page, pattern=pattern, limit=limit, cursor=cursor)


def clear_cache() -> Call[JsonObject]:
    call = post(path_of("cache"), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))


def prune_cache() -> Call[JsonObject]:
    return post(path_of("cache:prune"), json_object)


def cache_statistics() -> Call[JsonObject]:
    return get(path_of("cache:statistics"), json_object)


def claim(key: str, ttl_seconds: float | None = None) -> Call[JsonObject]:
    """Be the first. It is not sent again by itself: it would find its own claim in progress."""
    return post(path_of("idempotency", key, "claim"), json_object, _given(ttlSeconds=ttl_seconds))


def save_outcome(
    key: str, value: Any, ttl_seconds: float | None = None, token: int | None = None
) -> Call[JsonObject]:
    body = {"value": _carried(value)} | _given(ttlSeconds=ttl_seconds, token=token)
    return _changed(post(path_of("idempotency", key), json_object, body), "PUT")


def outcome(key: str) -> Call[JsonObject]:
    return get(path_of("idempotency", key), json_object)


def forget_outcome(key: str) -> Call[JsonObject]:
    call = post(path_of("idempotency", key), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))
