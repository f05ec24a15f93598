"""Who leads, pass by pass."""

import asyncio

import pytest

from podling.core.errors import StoreUnavailable
from podling.master.loops.election import Election
from tests.master.world import LEASE, Faulty, World, away


async def test_nobody_leads_so_the_first_does(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    await Election(one).run_once()
    await Election(two).run_once()
    assert (one.epoch, two.epoch) == (1, None)


async def test_a_challenger_waits_a_whole_lease_without_a_renewal(world: World) -> None:
    await world.leader("one")
    two = world.context("two")
    election = Election(two)
    await election.run_once()
    world.clock.passed += LEASE - 0.1
    await election.run_once()
    assert not two.leads
    world.clock.passed += 0.2
    await election.run_once()
    assert two.epoch == 2


async def test_a_leader_that_crashed_is_followed_within_five_quarters_of_its_lease(world: World) -> None:
    """The worst case: it renewed for the last time just after the challenger had looked."""
    one, two = world.context("one"), world.context("two")
    leading, challenging = Election(one), Election(two)
    await leading.run_once()
    sleep = await challenging.run_once()
    world.clock.passed += 0.01
    await leading.run_once()
    crashed_at = world.clock.passed
    while not two.leads:
        assert sleep is not None
        world.clock.passed += max(sleep, 0.001)
        sleep = await challenging.run_once()
    assert LEASE <= world.clock.passed - crashed_at <= LEASE * 15 / 12


async def test_a_renewal_begins_the_wait_anew(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    leading, challenging = Election(one), Election(two)
    await leading.run_once()
    for _ in range(5):
        world.clock.passed += LEASE * 0.6
        await leading.run_once()
        await challenging.run_once()
    assert (one.epoch, two.epoch) == (1, None)


async def test_a_leader_that_was_overtaken_steps_down(world: World) -> None:
    one = world.context("one")
    election = Election(one)
    await election.run_once()
    assert await world.store.take_leadership("two", await world.store.leadership()) == 2
    await election.run_once()
    assert not one.leads


async def test_a_leader_that_cannot_renew_steps_down_before_its_lease_ends(world: World) -> None:
    store = Faulty(world.store)
    one = world.context("one", store)
    election = Election(one)
    await election.run_once()
    store.before["renew_leadership"] = away
    world.clock.passed += LEASE * 0.5
    with pytest.raises(StoreUnavailable):
        await election.run_once()
    assert one.leads
    world.clock.passed += LEASE * 0.2
    with pytest.raises(StoreUnavailable):
        await election.run_once()
    assert not one.leads


async def test_a_store_that_hangs_does_not_keep_a_leader_in_office(world: World) -> None:
    store = Faulty(world.store)
    one = world.context("one", store)
    election = Election(one)
    await election.run_once()
    world.clock.passed += LEASE * 2 / 3 - 0.05

    async def hang() -> None:
        world.clock.passed += 0.1
        await asyncio.Event().wait()

    store.before["renew_leadership"] = hang
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="in time"):
            await election.run_once()
    assert not one.leads


async def test_who_resigns_makes_room_at_once(world: World) -> None:
    one, two = world.context("one"), world.context("two")
    election = Election(one)
    await election.run_once()
    await election.resign()
    await Election(two).run_once()
    assert (one.epoch, two.epoch) == (None, 2)


async def test_a_new_leader_prepares_before_it_leads(world: World) -> None:
    one = world.context("one")
    led_meanwhile: list[bool] = []

    async def prepare() -> None:
        led_meanwhile.append(one.leads)

    await Election(one, [prepare]).run_once()
    assert led_meanwhile == [False] and one.leads
