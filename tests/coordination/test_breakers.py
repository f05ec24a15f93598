"""Breakers: exact counts, open at the maximum, half open after the cool-down, one probe."""

import asyncio

import pytest

from podling.core.coordination import BreakerState
from podling.core.errors import BreakerIsOpen, InvalidInput
from tests.coordination.ground import Ground

CLOSED, OPEN, HALF_OPEN = BreakerState


async def test_a_breaker_that_nobody_used_is_closed(ground: Ground) -> None:
    breaker = await ground.coordination.breakers.get_state("b")
    assert (breaker.key, breaker.state, breaker.failure_count) == ("b", CLOSED, 0)
    assert breaker.last_failure_at is breaker.last_success_at is breaker.opened_at is None


async def test_it_opens_at_the_maximum_and_a_success_counts_anew(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    assert (await breakers.record_failure("b", 3)).state is CLOSED
    assert (await breakers.record_failure("b", 3)).failure_count == 2
    well = await breakers.record_success("b")
    assert (well.failure_count, well.state) == (0, CLOSED) and well.last_success_at is not None
    states = [(await breakers.record_failure("b", 3)).state for _ in range(4)]
    assert states == [CLOSED, CLOSED, OPEN, OPEN]
    open_ = await breakers.get_state("b")
    assert open_.failure_count == 4, "failures are counted while it is open, too"
    assert open_.opened_at is not None and open_.last_failure_at is not None


@pytest.mark.parametrize("most", [1, 2])
async def test_the_first_failure_may_be_enough(ground: Ground, most: int) -> None:
    assert (await ground.coordination.breakers.record_failure("b", most)).state is (
        OPEN if most == 1 else CLOSED
    )


async def test_after_the_cool_down_one_may_try(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    await breakers.record_failure("b", 1, cool_down=10)
    refused = await breakers.allow("b")
    assert not refused.allowed and 0 < (refused.retry_after_seconds or 0) <= 10
    await ground.pass_time(10.1)
    assert (await breakers.get_state("b")).state is HALF_OPEN
    permits = await asyncio.gather(*(breakers.allow("b") for _ in range(10)))
    assert sum(permit.allowed for permit in permits) == 1
    assert (await breakers.record_success("b")).state is CLOSED
    assert all(permit.allowed for permit in [await breakers.allow("b") for _ in range(3)])
    assert (await breakers.get_state("b")).failure_count == 0


async def test_a_failed_probe_opens_it_again(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    await breakers.record_failure("b", 5, cool_down=10)
    await breakers.set_state("b", OPEN, cool_down=10)
    await ground.pass_time(11)
    assert (await breakers.allow("b")).allowed
    assert (await breakers.record_failure("b", 5, cool_down=20)).state is OPEN
    await ground.pass_time(15)
    assert (await breakers.get_state("b")).state is OPEN
    await ground.pass_time(6)
    assert (await breakers.allow("b")).allowed


async def test_a_probe_that_never_tells_is_forgotten(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    await breakers.record_failure("b", 1, cool_down=10)
    await ground.pass_time(11)
    assert (await breakers.allow("b")).allowed and not (await breakers.allow("b")).allowed
    await ground.pass_time(11)
    assert (await breakers.allow("b")).allowed and not (await breakers.allow("b")).allowed


async def test_a_success_from_before_does_not_close_an_open_one(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    await breakers.record_failure("b", 1, cool_down=10)
    assert (await breakers.record_success("b")).state is OPEN


async def test_the_state_is_set_by_hand(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    assert (await breakers.set_state("b", "open")).state is OPEN
    assert (await breakers.set_state("b", HALF_OPEN)).state is HALF_OPEN
    assert (await breakers.allow("b")).allowed and not (await breakers.allow("b")).allowed
    closed = await breakers.set_state("b", CLOSED)
    assert (closed.state, closed.failure_count, closed.opened_at) == (CLOSED, 0, None)
    with pytest.raises(InvalidInput):
        await breakers.set_state("b", "ajar")


async def test_a_guard_tells_what_came_of_the_block(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    calls = 0

    @breakers.guard("b", max_failures=2, cool_down=10)
    async def call(fails: bool) -> int:
        nonlocal calls
        calls += 1
        if fails:
            raise ZeroDivisionError
        return calls

    assert await call(False) == 1
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await call(True)
    with pytest.raises(BreakerIsOpen) as refused:
        await call(False)
    assert calls == 3, "nothing runs while it is open"
    assert refused.value.details["state"] == "open" and refused.value.details["retryAfterSeconds"] > 0
    await ground.pass_time(11)
    assert await call(False) == 4
    assert (await breakers.get_state("b")).state is CLOSED


async def test_errors_that_do_not_count_say_nothing(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    for error in (KeyError, asyncio.CancelledError):
        with pytest.raises(error):
            async with breakers.guard("b", 1, counts=(OSError,)):
                raise error
    assert (await breakers.get_state("b")).failure_count == 0


async def test_changes_are_told(ground: Ground) -> None:
    breakers = ground.coordination.breakers
    changes = breakers.changes("b")
    async with asyncio.timeout(20):
        assert (await anext(changes)).state is CLOSED
        coming = asyncio.ensure_future(anext(changes))
        await breakers.record_failure("b", 2, cool_down=0.2)
        await breakers.record_failure("b", 2, cool_down=0.2)
        assert (await coming).state is OPEN
        await ground.pass_time(0.2)
        assert (await anext(changes)).state is HALF_OPEN
        await breakers.record_success("b")
        assert (await anext(changes)).state is CLOSED


async def test_breakers_are_listed(ground: Ground) -> None:
    one, other = ground.over("a_"), ground.over("ab")
    for key in ("y", "x"):
        await one.breakers.record_success(key)
    await other.breakers.record_success("z")
    assert [breaker.key for breaker in await one.breakers.list()] == ["x", "y"]
    assert [breaker.key for breaker in await one.breakers.list(after="x")] == ["y"]
    assert [breaker.key for breaker in await one.breakers.list(limit=1)] == ["x"]


@pytest.mark.parametrize(("most", "cool_down"), [(0, 1), (-1, 1), (2**31, 1), (1, 0), (1, -1), (True, 1)])
async def test_limits_that_cannot_be_are_refused(ground: Ground, most: int, cool_down: float) -> None:
    breakers = ground.coordination.breakers
    with pytest.raises(InvalidInput):
        await breakers.record_failure("b", most, cool_down)
    assert (await breakers.get_state("b")).failure_count == 0


async def test_ten_thousand_failures_at_once_are_ten_thousand(ground: Ground) -> None:
    """I32. Over fewer connections than there are failures."""
    breakers = ground.coordination.breakers
    seen = await asyncio.gather(*(breakers.record_failure("b", 10_000) for _ in range(10_000)))
    assert {breaker.failure_count for breaker in seen} == set(range(1, 10_001))
    assert [breaker.state for breaker in seen].count(OPEN) == 1
    assert (await breakers.get_state("b")).failure_count == 10_000


async def test_one_that_nobody_uses_any_more_is_forgotten(ground: Ground) -> None:
    breakers, day = ground.coordination.breakers, 86400.0
    await breakers.record_failure("long ago", 2)
    await breakers.set_state("open for long", "open", 300 * day)
    await ground.pass_time(31 * day)
    await breakers.record_success("of today")
    await breakers.record_failure("again", 2)
    await ground.pass_time(day)
    assert await ground.coordination.forget() == 1
    assert [one.key for one in await breakers.list()] == ["again", "of today", "open for long"]
    assert (await breakers.get_state("long ago")).failure_count == 0
    assert (await breakers.get_state("open for long")).state == "open"
