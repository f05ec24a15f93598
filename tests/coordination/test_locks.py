"""Locks: one holder at a time, tokens that only grow, waiting in line."""

import asyncio

import pytest

from podling.core.errors import InvalidInput, LockNotAcquired, StoreUnavailable
from tests.coordination.ground import Ground

PATIENCE = 20.0


async def test_one_holder_at_a_time(ground: Ground) -> None:
    locks = ground.coordination.locks
    first = await locks.acquire("k", 30)
    assert first is not None and await first.is_valid()
    assert await locks.acquire("k", 30) is None
    assert await locks.acquire("another", 30) is not None
    assert await first.release() is True
    assert await first.release() is False and not await first.is_valid()
    assert await locks.acquire("k", 30) is not None


async def test_two_first_acquirers_race_without_an_error(ground: Ground) -> None:
    given = await asyncio.gather(*(ground.coordination.locks.acquire("new", 30) for _ in range(20)))
    assert sum(lock is not None for lock in given) == 1


async def test_tokens_only_grow_whatever_becomes_of_the_lock(ground: Ground) -> None:
    locks = ground.coordination.locks
    tokens = []
    for end in ("release", "force", "expire", "forget", "same owner"):
        lock = await locks.acquire("k", 30, owner="me")
        assert lock is not None
        tokens.append(lock.token)
        match end:
            case "release":
                assert await lock.release()
            case "force":
                assert await locks.force_release("k")
            case "expire":
                await ground.pass_time(31)
            case "forget":
                await ground.pass_time(3 * 86400)
                await ground.coordination.forget()
    last = await locks.acquire("k", 30, owner="me")
    assert last is not None
    assert tokens == sorted({*tokens}) and tokens[-1] < last.token


async def test_the_same_owner_acquires_again_and_the_old_handle_is_fenced_off(ground: Ground) -> None:
    locks = ground.coordination.locks
    before = await locks.acquire("k", 30, owner="me")
    again = await locks.acquire("k", 30, owner="me")
    assert before is not None and again is not None and again.token > before.token
    assert not await before.is_valid() and await before.release() is False
    assert await before.extend(30) is False
    assert await again.is_valid()


async def test_a_lock_ends_with_its_time_and_cannot_be_extended_then(ground: Ground) -> None:
    locks = ground.coordination.locks
    lock = await locks.acquire("k", 10)
    assert lock is not None
    await ground.pass_time(9)
    assert await lock.extend(10) is True
    await ground.pass_time(9)
    assert await lock.is_valid() and await locks.acquire("k", 10) is None
    await ground.pass_time(2)
    assert not await lock.is_valid()
    assert await lock.extend(10) is False and await lock.release() is False
    assert await locks.acquire("k", 10) is not None


async def test_an_owner_extends_by_name_and_nobody_else(ground: Ground) -> None:
    locks = ground.coordination.locks
    await locks.acquire("k", 10, owner="me")
    assert await locks.extend("k", 10, "you") is False
    assert await locks.extend("nothing", 10, "me") is False
    assert await locks.extend("k", 100, "me") is True
    await ground.pass_time(50)
    assert await locks.acquire("k", 10, owner="you") is None


async def test_force_release_frees_what_somebody_holds(ground: Ground) -> None:
    locks = ground.coordination.locks
    held = await locks.acquire("k", 10)
    assert held is not None
    assert await locks.force_release("k") is True and await locks.force_release("k") is False
    assert not await held.is_valid()
    assert await locks.acquire("k", 10) is not None


async def test_holders_are_listed_in_order_page_by_page(ground: Ground) -> None:
    one, other = ground.over("a:"), ground.over("a_")
    for key in ("c", "a", "b"):
        assert await one.locks.acquire(key, 10, owner=f"of {key}") is not None
    ended = await one.locks.acquire("0", 10)
    assert ended is not None and await ended.release()
    await other.locks.acquire("x", 10)
    assert [lock.key for lock in await one.locks.holders()] == ["a", "b", "c"]
    page = await one.locks.holders(limit=2)
    assert [lock.owner for lock in await one.locks.holders(limit=2, after=page[-1].key)] == ["of c"]
    assert [lock.key for lock in await other.locks.holders()] == ["x"], "the underscore is no wildcard"
    await ground.pass_time(11)
    assert await one.locks.holders() == []


async def test_a_context_manager_releases(ground: Ground) -> None:
    locks = ground.coordination.locks
    lock = await locks.acquire("k")
    assert lock is not None
    async with lock as held:
        assert await held.is_valid()
    assert await locks.find("k") is None


async def test_what_is_held_for_a_block_is_refused_to_others(ground: Ground) -> None:
    locks = ground.coordination.locks
    async with locks.hold("k", 30) as lock:
        assert not lock.is_lost
        with pytest.raises(LockNotAcquired) as refused:
            async with locks.hold("k", 30):
                pass
        assert refused.value.code == "lock_held"
    async with locks.hold("k", 30, wait_seconds=1):
        pass


async def test_a_lost_lock_is_told_to_its_holder(ground: Ground) -> None:
    locks = ground.coordination.locks
    async with locks.hold("k", 0.3) as lock:
        await locks.force_release("k")
        async with asyncio.timeout(PATIENCE):
            await lock.lost.wait()
        assert lock.is_lost


async def test_who_waits_gets_it_at_its_release(ground: Ground) -> None:
    locks = ground.coordination.locks
    held = await locks.acquire("k", 30)
    assert held is not None
    waiting = asyncio.create_task(locks.acquire("k", 30, wait_seconds=PATIENCE))
    await queued(ground, 1)
    assert not waiting.done()
    await held.release()
    got = await waiting
    assert got is not None and got.token > held.token


async def test_who_waits_gets_it_when_it_ends(ground: Ground) -> None:
    """Nobody releases it: the holder has died."""
    locks = ground.coordination.locks
    assert await locks.acquire("k", 0.2) is not None
    waiting = asyncio.create_task(locks.acquire("k", 30, wait_seconds=PATIENCE))
    await queued(ground, 1)
    await ground.pass_time(0.2)
    assert await waiting is not None


async def test_who_waits_too_long_gets_none(ground: Ground) -> None:
    locks = ground.coordination.locks
    held = await locks.acquire("k", 30)
    assert held is not None
    assert await locks.acquire("k", 30, wait_seconds=0.05) is None
    await held.release()
    assert await locks.acquire("k", 30) is not None, "nobody stands in line any more"


async def test_first_come_first_served_and_nobody_pushes_in(ground: Ground) -> None:
    locks = ground.coordination.locks
    held = await locks.acquire("k", 30)
    assert held is not None
    served: list[int] = []

    async def wait(number: int) -> None:
        lock = await locks.acquire("k", 30, wait_seconds=PATIENCE)
        assert lock is not None
        served.append(number)
        assert await locks.acquire("k", 30) is None
        await lock.release()

    waiting = []
    for number in range(8):
        waiting.append(asyncio.create_task(wait(number)))
        await queued(ground, number + 1)
    await held.release()
    assert await locks.acquire("k", 30) is None, "the others came first"
    await asyncio.gather(*waiting)
    assert served == list(range(8))


async def test_who_gives_up_is_passed_over(ground: Ground) -> None:
    locks = ground.coordination.locks
    held = await locks.acquire("k", 30)
    assert held is not None
    first = asyncio.create_task(locks.acquire("k", 30, wait_seconds=PATIENCE))
    await queued(ground, 1)
    second = asyncio.create_task(locks.acquire("k", 30, wait_seconds=PATIENCE))
    await queued(ground, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await held.release()
    async with asyncio.timeout(5):
        assert await second is not None


@pytest.mark.parametrize("ttl", [0, -1, 10 * 366 * 86400, float("nan"), float("inf"), 1e-9, True, "1"])
async def test_a_time_to_live_that_cannot_be_is_refused(ground: Ground, ttl: float) -> None:
    locks = ground.coordination.locks
    with pytest.raises(InvalidInput):
        await locks.acquire("k", ttl)
    held = await locks.acquire("k", 30)
    assert held is not None
    with pytest.raises(InvalidInput):
        await held.extend(ttl)
    assert await held.is_valid()


@pytest.mark.parametrize("key", ["", " ", "x" * 513, "nul\0", "line\nbreak", "\ud800", 7])
async def test_a_key_that_cannot_be_is_refused(ground: Ground, key: str) -> None:
    with pytest.raises(InvalidInput):
        await ground.coordination.locks.acquire(key, 30)
    assert await ground.coordination.locks.holders() == []


async def test_a_key_of_the_greatest_length_is_taken(ground: Ground) -> None:
    long = ground.over("p" * 128)
    assert await long.locks.acquire("ü" * 512, 30) is not None
    assert await long.locks.acquire("\U0001f600" * 512, 30) is not None
    assert await long.locks.acquire("\U0001f600" * 512, 30) is None


async def queued(ground: Ground, count: int) -> None:
    """Return when so many stand in line."""
    async with asyncio.timeout(PATIENCE):
        while await _standing(ground) < count:
            await asyncio.sleep(0.005)


async def _standing(ground: Ground) -> int:
    if ground.pool is None:
        return sum(len(line) for line in ground.coordination.tables.locks._lines.values())  # type: ignore[attr-defined]
    sql = "SELECT count(*) FROM podling_lock_waiters WHERE alive_until > clock_timestamp()"
    return int(await ground.pool.fetchval(sql))


async def test_who_disconnects_sends_away_who_waits(ground: Ground) -> None:
    locks = ground.coordination.locks
    assert await locks.acquire("k", 300) is not None
    waiting = asyncio.create_task(locks.acquire("k", 300, wait_seconds=3600))
    changes = ground.coordination.breakers.changes("b")
    await anext(changes)
    watching = asyncio.ensure_future(anext(changes))
    await queued(ground, 1)
    await ground.coordination.disconnect()
    async with asyncio.timeout(PATIENCE):
        for gone in (waiting, watching):
            with pytest.raises(StoreUnavailable, match="was disconnected while this waited"):
                await gone
