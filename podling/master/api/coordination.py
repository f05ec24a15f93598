"""`/api/v1/locks`, `/breakers`, `/cache` and `/idempotency`."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from aiohttp import web

from podling.coordination.locks import HeldLock
from podling.core.access import Role
from podling.core.coordination_rules import check_key
from podling.core.errors import (
    Forbidden,
    InvalidInput,
    LockNotAcquired,
    LockNotHeld,
    NotFound,
    PodlingError,
    StaleAttempt,
    Unauthorized,
    Unavailable,
)
from podling.core.protocol import AttemptKey
from podling.core.registries import PREFIX as REGISTRY_PREFIX
from podling.master.api.admission import ADMISSION
from podling.master.api.http import answer, next_page, page_limit, query, read_body, read_object
from podling.master.api.keys import CONTEXT, PRINCIPAL, STREAMS
from podling.master.api.route import Route, also_for_tasks, delete, get, post, put
from podling.master.context import MasterContext
from podling.master.credentials import CREDENTIAL_ENDED
from podling.master.operations.checkpoints import check_live
from podling.master.sessions.streams import STOPPING
from podling.wire import coordination as wire

_Item = TypeVar("_Item")
_PAGE = ("limit", "cursor")


def routes() -> list[Route]:
    return [*_lock_routes(), *_breaker_routes(), *_cache_routes(), *_idempotency_routes()]


def _lock_routes() -> list[Route]:
    base = "/api/v1/locks"
    return [
        get(base, list_locks, Role.READER),
        *also_for_tasks(
            get(f"{base}/{{key}}", get_lock, Role.READER),
            post(f"{base}/{{key}}/acquire", acquire, Role.SUBMITTER, audited=False),
            post(f"{base}/{{key}}/extend", extend, Role.SUBMITTER, audited=False),
            post(f"{base}/{{key}}/release", release, Role.SUBMITTER, audited=False),
        ),
        delete(f"{base}/{{key}}", force_release, Role.OPERATOR),
    ]


def _breaker_routes() -> list[Route]:
    base = "/api/v1/breakers"
    return [
        get(base, list_breakers, Role.READER),
        put(f"{base}/{{key}}", put_breaker, Role.SUBMITTER),
        *also_for_tasks(
            get(f"{base}/{{key}}", get_breaker, Role.READER),
            post(f"{base}/{{key}}/failure", record_failure, Role.SUBMITTER, audited=False),
            post(f"{base}/{{key}}/success", record_success, Role.SUBMITTER, audited=False),
            post(f"{base}/{{key}}/allow", allow, Role.SUBMITTER, audited=False),
        ),
    ]


def _cache_routes() -> list[Route]:
    base = "/api/v1/cache"
    return [
        get(base, list_cached, Role.READER),
        delete(base, clear_cache, Role.OPERATOR),
        get(f"{base}:statistics", get_statistics, Role.READER),
        post(f"{base}:prune", prune_cache, Role.OPERATOR),
        *also_for_tasks(
            get(f"{base}/{{key}}", get_cached, Role.READER),
            put(f"{base}/{{key}}", put_cached, Role.SUBMITTER, audited=False),
            delete(f"{base}/{{key}}", delete_cached, Role.SUBMITTER, audited=False),
        ),
    ]


def _idempotency_routes() -> list[Route]:
    base = "/api/v1/idempotency/{key}"
    return also_for_tasks(
        post(f"{base}/claim", claim, Role.SUBMITTER, audited=False),
        put(base, put_outcome, Role.SUBMITTER, audited=False),
        get(base, get_outcome, Role.READER),
        delete(base, delete_outcome, Role.SUBMITTER, audited=False),
    )


async def list_locks(request: web.Request) -> web.Response:
    given = query(request, *_PAGE)
    limit = page_limit(given)
    found = await request.app[CONTEXT].coordination.locks.holders(limit + 1, _after(given))
    return _page(request, found, limit, wire.lock_view, lambda lock: lock.key)


async def get_lock(request: web.Request) -> web.Response:
    if (lock := await request.app[CONTEXT].coordination.locks.find(_key(request))) is None:
        raise NotFound.of("lock")
    return answer(wire.lock_view(lock))


async def acquire(request: web.Request) -> web.Response:
    key, asked = _key(request), wire.parse_acquire(await read_object(request, optional=True))
    locks = request.app[CONTEXT].coordination.locks
    if asked.wait_seconds:
        held = await _waited_for(request, key, asked)
    else:
        held = await locks.acquire(key, asked.ttl_seconds, asked.owner)
    if held is None:
        raise LockNotAcquired(f"the lock {key} is held by somebody else", details={"key": key})
    return answer(wire.lock_view(held.lock))


async def _waited_for(request: web.Request, key: str, asked: wire.AcquireRequest) -> HeldLock | None:
    """Hold the request while it waits: until its client goes, its token ends, or this master stops."""
    context = request.app[CONTEXT]
    with (
        request.app[ADMISSION].streaming(request),
        request.app[STREAMS].reading(),
        context.credentials.reading(request[PRINCIPAL]),
    ):
        try:
            held = await context.coordination.locks.acquire(
                key, asked.ttl_seconds, asked.owner, wait_seconds=asked.wait_seconds
            )
        except asyncio.CancelledError as cancelled:
            if (refusal := _ended(cancelled)) is None:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            raise refusal from None
    if held is not None and (attempt := request[PRINCIPAL].attempt) is not None:
        await _give_back_unless_live(context, held, attempt)
    return held


async def _give_back_unless_live(context: MasterContext, held: HeldLock, attempt: AttemptKey) -> None:
    """Raise StaleAttempt, and free the lock, if the attempt has ended while it waited."""
    try:
        await check_live(context, attempt)
    except StaleAttempt:
        await held.release()
        raise


def _ended(cancelled: asyncio.CancelledError) -> PodlingError | None:
    """Return what is to be told to a client that is still there."""
    match cancelled.args:
        case (told,) if told == CREDENTIAL_ENDED:
            return Unauthorized(CREDENTIAL_ENDED, code="token_ended")
        case (told,) if told == STOPPING:
            return Unavailable("this master is stopping; ask another one, or try again", code="stopping")
    return None


async def extend(request: web.Request) -> web.Response:
    key, (token, ttl) = _key(request), wire.parse_extend(await read_object(request))
    lock = await request.app[CONTEXT].coordination.locks.extend_by_token(key, token, ttl)
    if lock is None:
        raise _not_held(key)
    return answer(wire.lock_view(lock))


async def release(request: web.Request) -> web.Response:
    key, token = _key(request), wire.parse_release(await read_object(request))
    if not await request.app[CONTEXT].coordination.locks.release(key, token):
        raise _not_held(key)
    return answer({"message": "lock released"})


async def force_release(request: web.Request) -> web.Response:
    if not await request.app[CONTEXT].coordination.locks.force_release(_key(request)):
        raise NotFound.of("lock")
    return answer({"message": "lock released"})


async def list_breakers(request: web.Request) -> web.Response:
    given = query(request, *_PAGE)
    limit = page_limit(given)
    found = await request.app[CONTEXT].coordination.breakers.list(limit + 1, _after(given))
    return _page(request, found, limit, wire.breaker_view, lambda breaker: breaker.key)


async def get_breaker(request: web.Request) -> web.Response:
    return answer(
        wire.breaker_view(await request.app[CONTEXT].coordination.breakers.get_state(_key(request)))
    )


async def put_breaker(request: web.Request) -> web.Response:
    key, (state, cool_down) = _breaker_to_change(request), wire.parse_breaker(await read_object(request))
    kept = await request.app[CONTEXT].coordination.breakers.set_state(key, state, cool_down)
    return answer(wire.breaker_view(kept))


async def record_failure(request: web.Request) -> web.Response:
    key, limits = _breaker_to_change(request), wire.parse_limits(await read_object(request, optional=True))
    breakers = request.app[CONTEXT].coordination.breakers
    kept = await breakers.record_failure(key, limits.max_failures, limits.cool_down_seconds)
    return answer(wire.breaker_view(kept))


async def record_success(request: web.Request) -> web.Response:
    await _no_body(request)
    kept = await request.app[CONTEXT].coordination.breakers.record_success(_breaker_to_change(request))
    return answer(wire.breaker_view(kept))


async def allow(request: web.Request) -> web.Response:
    await _no_body(request)
    key = _breaker_to_change(request)
    return answer(wire.permit_view(await request.app[CONTEXT].coordination.breakers.allow(key)))


async def list_cached(request: web.Request) -> web.Response:
    given = query(request, "pattern", *_PAGE)
    limit = page_limit(given)
    cache = request.app[CONTEXT].coordination.cache
    found = await cache.keys(given.get("pattern", "*"), limit + 1, _after(given))
    return _page(request, found, limit, str, str)


async def clear_cache(request: web.Request) -> web.Response:
    return answer({"removed": await request.app[CONTEXT].coordination.cache.clear()})


async def get_statistics(request: web.Request) -> web.Response:
    return answer(wire.statistics_view(await request.app[CONTEXT].coordination.cache.statistics()))


async def prune_cache(request: web.Request) -> web.Response:
    await _no_body(request)
    return answer({"removed": await request.app[CONTEXT].coordination.cache.prune()})


async def get_cached(request: web.Request) -> web.Response:
    key, nothing = _key(request), object()
    found = await request.app[CONTEXT].coordination.cache.get(key, nothing)
    if found is nothing:
        raise NotFound("the cache has nothing under this key", code="cache_key_not_found")
    return answer(wire.cached_view(key, found))


async def put_cached(request: web.Request) -> web.Response:
    key, kept = _key(request), wire.parse_cached(await read_object(request))
    is_new = await request.app[CONTEXT].coordination.cache.set(key, kept.value, kept.ttl_seconds)
    return answer({"key": key}, 201 if is_new else 200)


async def delete_cached(request: web.Request) -> web.Response:
    if not await request.app[CONTEXT].coordination.cache.delete(_key(request)):
        raise NotFound("the cache has nothing under this key", code="cache_key_not_found")
    return answer({"message": "value removed"})


async def claim(request: web.Request) -> web.Response:
    key, ttl = _key(request), wire.parse_claim(await read_object(request, optional=True))
    return answer(wire.claim_view(await request.app[CONTEXT].coordination.idempotency.claim(key, ttl)))


async def put_outcome(request: web.Request) -> web.Response:
    key, kept = _key(request), wire.parse_outcome(await read_object(request))
    keys = request.app[CONTEXT].coordination.idempotency
    await keys.set(key, kept.value, kept.ttl_seconds, token=kept.token)
    return answer({"key": key})


async def get_outcome(request: web.Request) -> web.Response:
    if (found := await request.app[CONTEXT].coordination.idempotency.get(_key(request))) is None:
        raise NotFound("nothing came of this key so far", code="outcome_not_found")
    return answer(wire.outcome_view(found))


async def delete_outcome(request: web.Request) -> web.Response:
    if not await request.app[CONTEXT].coordination.idempotency.delete(_key(request)):
        raise NotFound("nothing is known of this key", code="outcome_not_found")
    return answer({"message": "key forgotten"})


def _key(request: web.Request) -> str:
    """Return the key in the path. Raises InvalidInput."""
    return check_key(request.match_info["key"])


def _breaker_to_change(request: web.Request) -> str:
    """Return the key in the path. Raises Forbidden for one of Podling's own, which hold back any task."""
    key = _key(request)
    if key.startswith(REGISTRY_PREFIX) and not request[PRINCIPAL].may(Role.OPERATOR):
        raise Forbidden(f"breakers under {REGISTRY_PREFIX} are an operator's to set", code="role_needed")
    return key


async def _no_body(request: web.Request) -> None:
    """Take an empty object for none."""
    if await read_body(request) not in (b"", b"{}"):
        raise InvalidInput("this takes no body", code="bad_request")


def _not_held(key: str) -> LockNotHeld:
    return LockNotHeld(
        f"the lock {key} is not held with this token: it was released, or ran out, or is somebody else's",
        details={"key": key},
    )


def _page(
    request: web.Request,
    found: Sequence[_Item],
    limit: int,
    view: Callable[[_Item], object],
    key: Callable[[_Item], str],
) -> web.Response:
    page = found[:limit]
    headers = next_page(request, _cursor_of(key(page[-1]))) if len(found) > limit else None
    return answer([view(item) for item in page], headers=headers)


def _cursor_of(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _after(given: Mapping[str, str]) -> str | None:
    """Return the key that a list's cursor tells of. Raises InvalidInput."""
    if (cursor := given.get("cursor")) is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return check_key(base64.b64decode(padded, altchars=b"-_", validate=True).decode(), "cursor")
    except (ValueError, binascii.Error):
        raise InvalidInput.field("cursor", "is not one that a list gave") from None
