"""Masters on record, and the one that leads."""

import re
from dataclasses import replace

import pytest

from podling.core.errors import StaleEpoch
from podling.store.base import Leadership, PeerMessage, Store
from tests.builders import build_batch, build_master, build_task, insertion


async def test_the_cluster_keeps_its_name(store: Store) -> None:
    name = await store.cluster_id()
    assert re.fullmatch(r"[0-9a-f]{8}", name)
    assert await store.cluster_id() == name


async def test_an_open_store_answers_a_ping(store: Store) -> None:
    await store.ping()
    assert store.kind in {"memory", "postgres"}


async def test_masters_are_listed_in_order_of_their_registration(store: Store) -> None:
    second, first = build_master("master-a"), build_master("master-b")
    await store.register_master(first)
    await store.register_master(second)
    assert list(await store.load_masters()) == [first, second]


async def test_a_beat_raises_the_counter_of_one_master(store: Store) -> None:
    await store.register_master(build_master("m1"))
    await store.register_master(build_master("m2"))
    await store.beat_master("m1")
    masters = await store.beat_master("m1")
    assert {master.master_id: master.counter for master in masters} == {"m1": 2, "m2": 0}
    assert list(await store.load_masters()) == list(masters)


async def test_a_beat_of_an_unknown_master_adds_none(store: Store) -> None:
    await store.register_master(build_master("m1"))
    assert [master.master_id for master in await store.beat_master("nobody")] == ["m1"]


async def test_registering_again_replaces_the_record(store: Store) -> None:
    await store.register_master(build_master("m1"))
    moved = build_master("m1", advertise_url="http://elsewhere:8080", identity="i", lease_seconds=0.5)
    await store.register_master(moved)
    assert list(await store.load_masters()) == [moved]


async def test_a_removed_master_is_gone(store: Store) -> None:
    await store.register_master(build_master("m1"))
    await store.remove_master("m1")
    await store.remove_master("m1")
    assert not await store.load_masters()


async def test_messages_are_taken_once_in_order_by_their_recipient_alone(store: Store) -> None:
    await store.post([PeerMessage(recipient="m1", body="one"), PeerMessage(recipient="m2", body="other")])
    await store.post([PeerMessage(recipient="m1", body="two")])
    assert list(await store.take_messages("m1")) == ["one", "two"]
    assert list(await store.take_messages("m1")) == []
    assert list(await store.take_messages("m2")) == ["other"]
    assert list(await store.take_messages("nobody")) == []


async def test_a_removed_master_leaves_no_messages(store: Store) -> None:
    await store.register_master(build_master("m1"))
    await store.post([PeerMessage(recipient="m1", body="late"), PeerMessage(recipient="m2", body="kept")])
    await store.remove_master("m1")
    assert list(await store.take_messages("m1")) == []
    assert list(await store.take_messages("m2")) == ["kept"]


async def test_maintenance_leaves_young_messages(store: Store) -> None:
    await store.post([PeerMessage(recipient="m1", body="young")])
    await store.maintain()
    assert list(await store.take_messages("m1")) == ["young"]


async def test_nobody_leads_a_new_store(store: Store) -> None:
    assert await store.leadership() == Leadership(epoch=0, holder=None, counter=0)


async def test_epochs_grow_with_every_takeover(store: Store) -> None:
    first = await store.take_leadership("m1", await store.leadership())
    second = await store.take_leadership("m2", await store.leadership())
    assert first is not None and second is not None
    assert second > first > 0
    leadership = await store.leadership()
    assert (leadership.epoch, leadership.holder) == (second, "m2")


async def test_a_takeover_needs_the_record_as_it_was_seen(store: Store) -> None:
    seen = await store.leadership()
    epoch = await store.take_leadership("m1", seen)
    assert epoch is not None
    assert await store.take_leadership("m2", seen) is None
    seen = await store.leadership()
    assert await store.renew_leadership("m1", epoch)
    assert await store.take_leadership("m2", seen) is None
    assert (await store.leadership()).holder == "m1"


@pytest.mark.parametrize("change", [{"epoch": 7}, {"holder": "m9"}, {"holder": None}, {"counter": 9}])
async def test_a_takeover_compares_every_part_of_the_record(store: Store, change: dict[str, object]) -> None:
    await store.take_leadership("m1", await store.leadership())
    seen = replace(await store.leadership(), **change)  # type: ignore[arg-type]
    assert await store.take_leadership("m2", seen) is None


async def test_the_last_holder_may_take_a_new_epoch(store: Store) -> None:
    first = await store.take_leadership("m1", await store.leadership())
    again = await store.take_leadership("m1", await store.leadership())
    assert first is not None and again is not None and again > first


async def test_a_renewal_raises_the_counter(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    assert epoch is not None
    before = await store.leadership()
    assert await store.renew_leadership("m1", epoch)
    assert (await store.leadership()).counter > before.counter


async def test_only_the_holder_renews_its_own_epoch(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    assert epoch is not None
    seen = await store.leadership()
    assert not await store.renew_leadership("m2", epoch)
    assert not await store.renew_leadership("m1", epoch - 1)
    assert not await store.renew_leadership("m1", epoch + 1)
    assert await store.leadership() == seen


async def test_who_has_resigned_leads_no_more(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    assert epoch is not None
    await store.resign_leadership("m1", epoch)
    leadership = await store.leadership()
    assert (leadership.holder, leadership.epoch) == (None, epoch)
    assert not await store.renew_leadership("m1", epoch)
    with pytest.raises(StaleEpoch):
        await store.commit(build_batch([insertion(build_task())], epoch=epoch))


async def test_nobody_resigns_for_another(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    assert epoch is not None
    await store.resign_leadership("m2", epoch)
    await store.resign_leadership("m1", epoch - 1)
    assert (await store.leadership()).holder == "m1"


async def test_every_write_of_a_leader_is_fenced_by_its_epoch(store: Store) -> None:
    stale = await store.take_leadership("m1", await store.leadership())
    assert stale is not None
    await store.take_leadership("m2", await store.leadership())
    task = build_task()
    with pytest.raises(StaleEpoch):
        await store.commit(build_batch([insertion(task)], epoch=stale))
    with pytest.raises(StaleEpoch):
        await store.block([task.task_id], stale)
    with pytest.raises(StaleEpoch):
        await store.unblock({task.shape: 10}, stale)
    with pytest.raises(StaleEpoch):
        await store.mark_lost("node-1", 0, stale)
    assert not await store.load_tasks([task.task_id])


async def test_epoch_zero_leads_nothing(store: Store) -> None:
    with pytest.raises(StaleEpoch):
        await store.commit(build_batch([insertion(build_task())], epoch=0))
