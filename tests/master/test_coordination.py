"""Locks, breakers, the cache and idempotency keys over REST."""

import asyncio
from typing import Any

import aiohttp
import pytest

from podling.core.access import Role
from tests.master.masters import Masters, RunningMaster
from tests.master.tokens import add_token, showing

TEN_YEARS = 10 * 366 * 86400


async def test_a_lock_is_held_by_one_and_freed_by_its_token_alone(master: RunningMaster) -> None:
    api = master.api
    got = await api.call("POST", "/locks/k/acquire", {"ttlSeconds": 30, "owner": "me"})
    assert got.status == 200 and got.json["owner"] == "me" and got.json["key"] == "k"
    token = got.json["token"]
    refused = await api.call("POST", "/locks/k/acquire")
    assert (refused.status, refused.code) == (409, "lock_held")
    for verb in ("release", "extend"):
        wrong = await api.call("POST", f"/locks/k/{verb}", {"token": token + 1})
        assert (wrong.status, wrong.code) == (409, "lock_not_held")
    longer = await api.call("POST", "/locks/k/extend", {"token": token, "ttlSeconds": 300})
    assert longer.status == 200 and longer.json["expiresAt"] > got.json["expiresAt"]
    assert [lock["key"] for lock in (await api.call("GET", "/locks")).json] == ["k"]
    assert (await api.call("GET", "/locks/k")).json["token"] == token
    assert (await api.call("POST", "/locks/k/release", {"token": token})).status == 200
    again = await api.call("POST", "/locks/k/release", {"token": token})
    assert (again.status, again.code) == (409, "lock_not_held")
    assert (await api.call("GET", "/locks/k")).status == 404
    assert (await api.call("POST", "/locks/k/acquire")).json["token"] > token


async def test_an_operator_frees_what_somebody_holds(master: RunningMaster) -> None:
    assert (await master.api.call("DELETE", "/locks/k")).code == "lock_not_found"
    held = (await master.api.call("POST", "/locks/k/acquire")).json
    _, secret = await add_token(master, Role.SUBMITTER)
    _, operator = await add_token(master, Role.OPERATOR)
    async with showing(master, secret) as api:
        assert (await api.call("DELETE", "/locks/k")).status == 403
    async with showing(master, operator) as api:
        assert (await api.call("DELETE", "/locks/k")).status == 200
        late = await api.call("POST", "/locks/k/release", {"token": held["token"]})
        assert (late.status, late.code) == (409, "lock_not_held")


async def test_a_waiting_request_is_answered_when_the_lock_is_free(masters: Masters) -> None:
    one, other = await masters.start(), await masters.start()
    held = (await one.api.call("POST", "/locks/k/acquire")).json
    waiting = asyncio.create_task(other.api.call("POST", "/locks/k/acquire", {"waitSeconds": 14}))
    await standing(other)
    await one.api.call("POST", "/locks/k/release", {"token": held["token"]})
    got = await waiting
    assert got.status == 200 and got.json["token"] > held["token"]


async def test_a_waiting_request_has_a_deadline(master: RunningMaster) -> None:
    await master.api.call("POST", "/locks/k/acquire")
    late = await master.api.call("POST", "/locks/k/acquire", {"waitSeconds": 0.05})
    assert (late.status, late.code) == (409, "lock_held")


async def test_who_hangs_up_leaves_the_line(master: RunningMaster) -> None:
    held = (await master.api.call("POST", "/locks/k/acquire")).json
    async with aiohttp.ClientSession() as http:
        url = master.api.address("/locks/k/acquire")
        gone = asyncio.create_task(http.post(url, json={"waitSeconds": 60}))
        await standing(master)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await standing(master, 0)
    await master.api.call("POST", "/locks/k/release", {"token": held["token"]})
    assert (await master.api.call("POST", "/locks/k/acquire")).status == 200


async def test_a_stopping_master_sends_away_who_waits(masters: Masters) -> None:
    master = await masters.start()
    await master.api.call("POST", "/locks/k/acquire")
    waiting = asyncio.create_task(master.api.call("POST", "/locks/k/acquire", {"waitSeconds": 14}))
    await standing(master)
    master.server.streams.end_all()
    told = await waiting
    assert (told.status, told.code) == (503, "stopping")


async def test_a_token_that_ends_ends_the_waiting(master: RunningMaster) -> None:
    await master.api.call("POST", "/locks/k/acquire")
    token, secret = await add_token(master, Role.SUBMITTER)
    _, admin = await add_token(master, Role.ADMIN)
    async with showing(master, secret) as api, showing(master, admin) as boss:
        waiting = asyncio.create_task(api.call("POST", "/locks/k/acquire", {"waitSeconds": 14}))
        await standing(master)
        assert (await boss.call("DELETE", f"/tokens/{token.token_id}")).status == 200
        told = await waiting
    assert (told.status, told.code) == (401, "token_ended")


async def test_a_breaker_opens_half_opens_and_closes(master: RunningMaster) -> None:
    api = master.api
    unused = (await api.call("GET", "/breakers/b")).json
    assert unused == {
        "key": "b",
        "state": "closed",
        "failureCount": 0,
        "lastFailureAt": None,
        "lastSuccessAt": None,
        "openedAt": None,
    }
    limits = {"maxFailures": 2, "coolDownSeconds": 0.001}
    assert (await api.call("POST", "/breakers/b/failure", limits)).json["state"] == "closed"
    await api.call("POST", "/breakers/b/failure", limits | {"coolDownSeconds": 300})
    refused = (await api.call("POST", "/breakers/b/allow")).json
    assert (refused["allowed"], refused["state"]) == (False, "open") and refused["retryAfterSeconds"] > 0
    shown = (await api.call("GET", "/breakers/b")).json
    half = await api.call("PUT", "/breakers/b", shown | {"state": "half_open"})
    assert half.json["state"] == "half_open", "what was read can be sent again"
    allowed = [(await api.call("POST", "/breakers/b/allow")).json["allowed"] for _ in range(3)]
    assert allowed == [True, False, False]
    assert (await api.call("POST", "/breakers/b/success")).json["state"] == "closed"
    assert [each["key"] for each in (await api.call("GET", "/breakers")).json] == ["b"]


async def test_the_cache_keeps_json_lists_keys_and_is_cleared(master: RunningMaster) -> None:
    api = master.api
    for key, value in (("user%3A1", {"a": [1, None]}), ("user%3A2", None), ("a%2Fb", "ü")):
        assert (await api.call("PUT", f"/cache/{key}", {"value": value})).status == 201
    assert (await api.call("PUT", "/cache/user%3A1", {"value": 1, "ttlSeconds": 60})).status == 200
    assert (await api.call("GET", "/cache/user%3A2")).json == {"key": "user:2", "value": None}
    assert (await api.call("GET", "/cache/a%2Fb")).json == {"key": "a/b", "value": "ü"}
    missing = await api.call("GET", "/cache/nothing")
    assert (missing.status, missing.code) == (404, "cache_key_not_found")
    assert (await api.call("GET", "/cache?pattern=user:*")).json == ["user:1", "user:2"]
    assert (await api.call("GET", "/cache?pattern=user_2")).json == ["user:2"]
    first = await api.call("GET", "/cache?limit=2")
    assert first.json == ["a/b", "user:1"]
    rest = await api.call("GET", f"/cache?limit=2&cursor={first.headers['X-Next-Cursor']}")
    assert rest.json == ["user:2"] and "X-Next-Cursor" not in rest.headers
    seen = (await api.call("GET", "/cache:statistics")).json
    assert seen == {"hits": 2, "misses": 1, "size": 3, "ratio": 2 / 3}
    assert (await api.call("POST", "/cache:prune")).json == {"removed": 0}
    assert (await api.call("DELETE", "/cache/a%2Fb")).status == 200
    assert (await api.call("DELETE", "/cache/a%2Fb")).status == 404
    assert (await api.call("DELETE", "/cache")).json == {"removed": 2}


async def test_one_claims_the_others_get_what_came_of_it(master: RunningMaster) -> None:
    api = master.api
    claimed = (await api.call("POST", "/idempotency/k/claim", {"ttlSeconds": 60})).json
    assert claimed["status"] == "claimed"
    second = (await api.call("POST", "/idempotency/k/claim")).json
    assert second == {"status": "in_progress", "value": None, "token": None}
    assert (await api.call("GET", "/idempotency/k")).code == "outcome_not_found"
    lost = await api.call("PUT", "/idempotency/k", {"value": 1, "token": claimed["token"] + 1})
    assert (lost.status, lost.code) == (409, "claim_lost")
    assert (await api.call("PUT", "/idempotency/k", {"value": [1], "token": claimed["token"]})).status == 200
    assert (await api.call("POST", "/idempotency/k/claim")).json["value"] == [1]
    found = (await api.call("GET", "/idempotency/k")).json
    assert (await api.call("PUT", "/idempotency/k", found)).status == 200, "what was read can be sent again"
    assert (await api.call("DELETE", "/idempotency/k")).status == 200
    assert (await api.call("DELETE", "/idempotency/k")).status == 404


BAD: list[tuple[str, str, Any, int, str]] = [
    *(
        (method, path, body | {field: seconds}, 400, "invalid_field")
        for seconds in (0, -1, TEN_YEARS, True, "1")
        for method, path, field, body in (
            ("POST", "/locks/k/acquire", "ttlSeconds", {}),
            ("POST", "/locks/k/extend", "ttlSeconds", {"token": 1}),
            ("POST", "/breakers/k/failure", "coolDownSeconds", {}),
            ("PUT", "/breakers/k", "coolDownSeconds", {"state": "open"}),
            ("PUT", "/cache/k", "ttlSeconds", {"value": 1}),
            ("PUT", "/idempotency/k", "ttlSeconds", {"value": 1}),
            ("POST", "/idempotency/k/claim", "ttlSeconds", {}),
        )
    ),
    ("POST", f"/locks/{'x' * 513}/acquire", {}, 400, "invalid_field"),
    ("POST", "/locks/%00/acquire", {}, 400, "invalid_field"),
    ("POST", "/locks/%20/acquire", {}, 400, "invalid_field"),
    ("POST", "/locks/k/acquire", {"owner": ""}, 400, "invalid_field"),
    ("POST", "/locks/k/acquire", {"waitSeconds": 601}, 400, "invalid_field"),
    ("POST", "/locks/k/acquire", {"waitSeconds": -1}, 400, "invalid_field"),
    ("POST", "/locks/k/acquire", {"ttl": 30}, 400, "unknown_field"),
    ("POST", "/locks/k/release", {}, 400, "invalid_field"),
    ("POST", "/locks/k/release", {"token": 1.5}, 400, "invalid_field"),
    ("POST", "/locks/k/release", {"token": 2**63}, 400, "invalid_field"),
    ("POST", "/locks/k/release", {"token": 1}, 409, "lock_not_held"),
    ("POST", "/breakers/k/failure", {"maxFailures": 0}, 400, "invalid_field"),
    ("PUT", "/breakers/k", {}, 400, "invalid_field"),
    ("PUT", "/breakers/k", {"state": "ajar"}, 400, "invalid_field"),
    ("PUT", "/cache/k", {}, 400, "invalid_field"),
    ("PUT", "/cache/k", {"value": "x" * 1024**2}, 413, "value_too_large"),
    ("PUT", "/idempotency/k", {"value": "x" * 1024**2}, 413, "value_too_large"),
    ("GET", "/locks?cursor=%25", None, 400, "invalid_field"),
    ("GET", "/locks?limit=0", None, 400, "invalid_field"),
    ("GET", f"/cache?pattern={'x' * 1025}", None, 400, "invalid_field"),
]


async def test_bad_input_is_refused_and_changes_nothing(master: RunningMaster) -> None:
    api = master.api
    for method, path, body, status, code in BAD:
        told = await api.call(method, path, body)
        assert (told.status, told.code) == (status, code), (
            method,
            path[:60],
            str(body)[:60],
            told.text[:200],
        )
    for path in ("/locks", "/breakers", "/cache"):
        assert (await api.call("GET", path)).json == []
    assert (await api.call("GET", "/idempotency/k")).status == 404


@pytest.mark.parametrize("verb", ["success", "allow"])
async def test_what_takes_no_body_says_so(master: RunningMaster, verb: str) -> None:
    told = await master.api.call("POST", f"/breakers/b/{verb}", {"maxFailures": 1})
    assert told.status == 400
    assert (await master.api.call("POST", f"/breakers/b/{verb}", {})).status == 200


async def standing(master: RunningMaster, count: int = 1) -> None:
    """Return when so many requests wait for a lock at this master."""
    table = master.server.context.store.coordination.locks
    async with asyncio.timeout(10):
        while _places(table) != count:
            await asyncio.sleep(0.005)


def _places(table: Any) -> int:
    lines = getattr(table, "_lines", None)
    return len(table._line._places) if lines is None else sum(map(len, lines.values()))


async def test_what_the_library_keeps_is_read_over_rest_whatever_it_is(master: RunningMaster) -> None:
    """A number beyond 64 bits, and more levels than a request may have."""
    deep: Any = 10**30
    for _ in range(300):
        deep = [deep]
    coordination = master.server.context.coordination
    await coordination.cache.set("k", deep)
    await coordination.idempotency.set("k", deep)
    for method, path in (("GET", "/cache/k"), ("GET", "/idempotency/k"), ("POST", "/idempotency/k/claim")):
        got = await master.api.call(method, path)
        assert got.status == 200 and "[" * 300 + str(10**30) in got.text
