"""Locks, breakers, the cache and idempotency keys by both clients, against a real master."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from podling.client import AsyncClient, Client, program
from podling.client.call import Call, Request, Response
from podling.client.program import ConnectionLost, Link, Program
from podling.core.errors import BreakerIsOpen, Conflict, InvalidInput, LockNotAcquired, Unavailable
from tests.cli.masters import running_master

PATIENCE = 20.0


@pytest.fixture
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as made:
        yield made


async def test_a_lock_is_held_for_a_block_and_renewed_meanwhile(client: AsyncClient) -> None:
    async with client.lock("k", 0.3) as lock:
        first = await client.find_lock("k")
        assert first is not None and first["token"] == lock.token
        with pytest.raises(LockNotAcquired):
            async with client.lock("k"):
                pass
        async with asyncio.timeout(PATIENCE):
            while (seen := await client.find_lock("k")) is None or seen["expiresAt"] == first["expiresAt"]:
                await asyncio.sleep(0.01)
        assert seen["token"] == lock.token and not lock.lost.is_set()
    assert await client.find_lock("k") is None
    assert [held async for held in client.locks()] == []


async def test_a_lock_that_was_taken_away_is_told_lost(client: AsyncClient) -> None:
    async with client.lock("k", 0.3) as lock:
        assert await client.force_release_lock("k") and not await client.force_release_lock("k")
        async with asyncio.timeout(PATIENCE):
            await lock.lost.wait()
        assert not await lock.extend()


async def test_a_master_that_has_too_much_to_do_is_asked_again(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the holder: everybody else waits for it."""
    asked: Counter[str] = Counter()
    first_answer = program._first_answer

    def refuse_twice(link: Link, request: Request) -> Program[Response | ConnectionLost]:
        what = request.path.rpartition("/")[2]
        asked[what] += 1
        if asked[what] <= 2:
            return Response(status=503, headers={}, body=b'{"error": "too much", "code": "overloaded"}')
        return (yield from first_answer(link, request))

    monkeypatch.setattr(program, "_first_answer", refuse_twice)
    async with client.lock("k", wait_seconds=PATIENCE):
        assert asked == {"acquire": 3, "extend": 3}
    assert asked["release"] == 3
    assert await client.lock("k").acquire()


async def test_who_waits_gets_the_lock(client: AsyncClient) -> None:
    async with client.lock("k") as first:
        waiting = client.lock("k", wait_seconds=PATIENCE)
        coming = asyncio.create_task(waiting.acquire())
        await asyncio.sleep(0)
        assert not await client.lock("k", wait_seconds=0.01).acquire()
    assert await coming and waiting.token > first.token
    assert await waiting.release() and not await waiting.release()


async def test_a_breaker_guards_a_function(client: AsyncClient) -> None:
    @client.breaker("b", 2, 300, counts=(OSError,))
    async def call(error: type[Exception] | None) -> str:
        if error is not None:
            raise error
        return "well"

    assert await call(None) == "well"
    for error in (KeyError, OSError, OSError):
        with pytest.raises(error):
            await call(error)
    with pytest.raises(BreakerIsOpen):
        await call(None)
    breaker = client.breaker("b")
    assert (await breaker.state())["failureCount"] == 2
    assert (await breaker.set_state("half_open"))["state"] == "half_open"
    assert await call(None) == "well"
    assert [(one["key"], one["state"]) async for one in client.breakers()] == [("b", "closed")]


async def test_the_cache_and_the_keys(client: AsyncClient) -> None:
    cache, keys = client.cache, client.idempotency
    await cache.set("a/b", [1, None], 60)
    assert await cache.get("a/b") == [1, None] and await cache.get("x", "nothing") == "nothing"
    assert await cache.has("a/b") and not await cache.has("x")
    assert [key async for key in cache.keys("a*")] == ["a/b"]
    assert (await cache.statistics())["size"] == 1
    assert await cache.delete("a/b") and not await cache.delete("a/b")
    assert (await cache.prune(), await cache.clear()) == (0, 0)
    claim = await keys.claim("k", 60)
    assert claim["status"] == "claimed" and (await keys.claim("k"))["status"] == "in_progress"
    assert await keys.get("k") is None
    with pytest.raises(Conflict, match="run out"):
        await keys.set("k", 1, token=claim["token"] + 1)  # type: ignore[operator]
    await keys.set("k", {"n": 1}, token=claim["token"])
    found = await keys.get("k")
    assert found is not None and found["value"] == (await keys.claim("k"))["value"] == {"n": 1}
    assert await keys.delete("k") and not await keys.delete("k")


async def test_what_cannot_be_is_refused(client: AsyncClient) -> None:
    for ttl in (0, -1, 10 * 366 * 86400):
        with pytest.raises(InvalidInput):
            await client.lock("k", ttl).acquire()


async def test_a_lock_that_could_not_be_kept_is_given_back(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master goes between giving it and prolonging it."""

    send = client.send

    async def away(call: Call[Any]) -> Any:
        if call.request.path.endswith("/extend"):
            raise Unavailable("the master is away")
        return await send(call)

    monkeypatch.setattr(client, "send", away)
    with pytest.raises(Unavailable):
        await client.lock("k", wait_seconds=PATIENCE).acquire()
    assert await client.find_lock("k") is None


@pytest.mark.parametrize("value", [2**64, [-(2**63) - 1], {1, 2}, b"x", "\ud800", float("nan"), "x" * 2**20])
async def test_a_value_that_would_not_arrive_as_it_is_is_refused(client: AsyncClient, value: Any) -> None:
    for keep in (client.cache.set, client.idempotency.set):
        with pytest.raises(InvalidInput, match="value"):
            await keep("k", value)
    assert not await client.cache.has("k") and await client.idempotency.get("k") is None


async def test_the_greatest_numbers_arrive(client: AsyncClient) -> None:
    numbers = [2**64 - 1, -(2**63), "1" * 30, 1e30]
    await client.cache.set("k", numbers)
    assert await client.cache.get("k") == numbers


def test_the_blocking_client_does_the_same(url: str) -> None:
    with Client(url) as client:
        with client.lock("k", 0.3) as lock, pytest.raises(LockNotAcquired), client.lock("k"):
            pass
        with client.lock("k", 0.3) as again:
            assert again.token > lock.token
            assert client.force_release_lock("k")
            assert again.lost.wait(PATIENCE)
        waiting = client.lock("k", wait_seconds=PATIENCE)
        with client.lock("k"):
            coming = threading.Thread(target=waiting.acquire)
            coming.start()
        coming.join(PATIENCE)
        assert waiting.token and waiting.release()

        @client.breaker("b", 1, 300)
        def fails() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fails()
        with pytest.raises(BreakerIsOpen):
            fails()
        client.cache.set("k", 1)
        assert (client.cache.get("k"), list(client.cache.keys())) == (1, ["k"])
        assert client.idempotency.claim("k")["status"] == "claimed"
