"""Idempotency: one does the work, the others get what came of it."""

import asyncio

import pytest

from podling.core.coordination import Claim, ClaimStatus
from podling.core.errors import ClaimLost, InvalidInput, TooLarge
from tests.coordination.ground import Ground


async def test_the_first_caller_wins_and_the_others_get_the_result(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    claims = await asyncio.gather(*(keys.claim("k", 60) for _ in range(20)))
    first = [claim for claim in claims if claim.status is ClaimStatus.CLAIMED]
    assert len(first) == 1 and first[0].token is not None
    assert all(claim.status is ClaimStatus.IN_PROGRESS for claim in claims if claim is not first[0])
    assert await keys.get("k") is None
    await keys.set("k", {"paid": 12}, token=first[0].token)
    assert await keys.claim("k", 60) == Claim(status=ClaimStatus.DONE, value={"paid": 12})
    found = await keys.get("k")
    assert found is not None and (found.key, found.value, found.expires_at) == ("k", {"paid": 12}, None)


async def test_a_result_may_be_nothing_at_all(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    await keys.set("k", None)
    assert await keys.claim("k", 60) == Claim(status=ClaimStatus.DONE, value=None)
    found = await keys.get("k")
    assert found is not None and found.value is None


async def test_a_claim_that_ran_out_is_somebody_elses(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    slow = await keys.claim("k", 10)
    await ground.pass_time(11)
    with pytest.raises(ClaimLost):
        await keys.set("k", "too late", token=slow.token)
    quick = await keys.claim("k", 10)
    assert quick.status is ClaimStatus.CLAIMED
    with pytest.raises(ClaimLost):
        await keys.set("k", "too late", token=slow.token)
    await keys.set("k", "in time", token=quick.token)
    await keys.set("k", "in time", token=quick.token)
    assert (await keys.claim("k", 10)).value == "in time"


async def test_a_result_lives_as_long_as_it_should(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    await keys.set("k", 1, ttl=10)
    found = await keys.get("k")
    assert found is not None and found.expires_at is not None
    await ground.pass_time(11)
    assert await keys.get("k") is None
    assert (await keys.claim("k", 10)).status is ClaimStatus.CLAIMED


async def test_the_token_of_before_is_worth_nothing_after_a_result_ran_out(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    old = await keys.claim("k", 10)
    await ground.pass_time(11)
    await keys.set("k", "by hand")
    with pytest.raises(ClaimLost):
        await keys.set("k", "too late", token=old.token)


async def test_what_is_deleted_can_be_claimed_again(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    before = await keys.claim("k", 10)
    assert await keys.delete("k") is True and await keys.delete("k") is False
    again = await keys.claim("k", 10)
    assert again.token is not None and before.token is not None and again.token > before.token
    with pytest.raises(ClaimLost):
        await keys.set("k", "too late", token=before.token)


async def test_prefixes_are_apart(ground: Ground) -> None:
    one, other = ground.over("a:").idempotency, ground.over("b:").idempotency
    assert (await one.claim("k", 10)).status is (await other.claim("k", 10)).status is ClaimStatus.CLAIMED


async def test_what_cannot_be_is_refused(ground: Ground) -> None:
    keys = ground.coordination.idempotency
    for ttl in (0, -1, 10 * 366 * 86400):
        with pytest.raises(InvalidInput):
            await keys.claim("k", ttl)
        with pytest.raises(InvalidInput):
            await keys.set("k", 1, ttl)
    with pytest.raises(TooLarge):
        await keys.set("k", "x" * 1024**2)
    assert await keys.get("k") is None
    assert (await keys.claim("k", 10)).status is ClaimStatus.CLAIMED


async def test_what_ran_out_is_forgotten(ground: Ground) -> None:
    coordination = ground.coordination
    await coordination.idempotency.claim("k", 10)
    await coordination.cache.set("k", 1, 10)
    await coordination.cache.set("ever", 1)
    await ground.pass_time(11)
    assert await coordination.forget() == 2
    assert await coordination.forget() == 0
