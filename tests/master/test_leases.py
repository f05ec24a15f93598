"""Masters of one database that were given different leases."""

import asyncio
import logging
from dataclasses import replace

import pytest

from podling.core.errors import ConfigurationError
from podling.master.leases import check_lease
from podling.master.loops.peers import Peers
from podling.master.operations.doctor import examine
from podling.master.sessions.facts import FactsTable
from tests.master.masters import Masters
from tests.master.world import LEASE, World

LOOK_SECONDS = 0.01
NEVER = 3600.0


async def test_a_master_with_another_lease_than_one_that_lives_does_not_start(masters: Masters) -> None:
    first = await masters.start("one", lease_seconds=3.0)
    with pytest.raises(ConfigurationError, match=r"http://one.test has --lease-seconds 3, this one 60: give"):
        await masters.start("two", lease_seconds=60.0)
    assert first.server.context.leads
    assert [master.identity for master in await first.server.context.store.load_masters()] == ["one"]


async def test_who_died_with_another_lease_keeps_nobody_from_starting(world: World) -> None:
    await world.store.register_master(world.context("dead", lease_seconds=60.0).record())
    await check_lease(world.context("one"), LOOK_SECONDS)


async def test_nobody_waits_for_its_own_earlier_start_or_for_who_told_no_lease(world: World) -> None:
    own = world.context("one", lease_seconds=60.0).record()
    await world.store.register_master(own)
    await world.store.register_master(replace(world.context("older").record(), lease_seconds=None))
    async with asyncio.timeout(10):
        await check_lease(world.context("one"), NEVER)


async def test_a_difference_that_came_later_is_told_once_and_found_by_the_doctor(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    context, other = await world.leader("one"), world.context("two", lease_seconds=60.0)
    await world.store.register_master(context.record())
    await world.store.register_master(other.record())
    peers = Peers(context, lambda _: None)
    with caplog.at_level(logging.WARNING):
        await peers.run_once()
        await peers.run_once()
        assert not caplog.records  # it may be the record of a dead one
        for _ in range(2):
            await world.store.beat_master(other.options.master_id)
            await peers.run_once()
    told = [record.getMessage() for record in caplog.records]
    difference = f"the master http://two has --lease-seconds 60, this one {LEASE:g}"
    assert told == [f"{difference}: a task may run twice at a time"]
    found = (await examine(context, FactsTable(), whole=True))["findings"]
    assert "leases_differ" in [finding.code for finding in found]
