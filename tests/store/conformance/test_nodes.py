"""Nodes, their sessions, their beats and the mark of the lost."""

from dataclasses import replace

import pytest

from podling.core.errors import StaleEpoch
from podling.core.node import Drain, Node, NodeStatus
from podling.store.base import Beat, Store
from tests.builders import NOW, at, build_node


async def lead(store: Store) -> int:
    epoch = await store.take_leadership("leader", await store.leadership())
    assert epoch is not None
    return epoch


async def beat_of(store: Store, node_id: str = "node-1") -> Beat:
    [beat] = [beat for beat in await store.load_beats() if beat.node_id == node_id]
    return beat


async def node_of(store: Store, node_id: str = "node-1") -> Node:
    [node] = [node for node in await store.load_nodes() if node.node_id == node_id]
    return node


def rich_node() -> Node:
    return build_node(
        labels={"zone": "a", "ü": "%_'\""},
        runtimes=("docker", "process"),
        capacity={"cpu": 2**40, "memory": 2**52, "gpu": 2},
        session_no=3,
        master_id="master-1",
        cordoned=True,
        drain=Drain(since=at(-7.25), deadline_seconds=60.0),
        unhealthy="the engine does not answer",
        lost_reason="no beat",
        version="0.1.0",
        instance="start-1",
        status=NodeStatus.OFFLINE,
        registered_at=at(-100.5),
        last_heartbeat=at(0.000001),
    )


async def test_a_node_is_read_as_it_was_saved(store: Store) -> None:
    node = rich_node()
    assert await store.save_node(node)
    assert list(await store.load_nodes()) == [node]


async def test_nodes_are_listed_newest_registration_first(store: Store) -> None:
    for name, moment in (("a", 1), ("b", 3), ("c", 2), ("d", 2)):
        await store.save_node(build_node(name, registered_at=at(moment)))
    assert [node.node_id for node in await store.load_nodes()] == ["b", "d", "c", "a"]


async def test_nodes_are_filtered_by_status(store: Store) -> None:
    await store.save_node(build_node("a", registered_at=at(1)))
    await store.save_node(build_node("b", status=NodeStatus.OFFLINE))
    await store.save_node(build_node("c"))
    assert [node.node_id for node in await store.load_nodes(NodeStatus.ONLINE)] == ["a", "c"]
    assert [node.node_id for node in await store.load_nodes(NodeStatus.OFFLINE)] == ["b"]


async def test_nodes_are_loaded_by_their_ids(store: Store) -> None:
    for name, moment in (("a", 1), ("b", 3), ("c", 2)):
        await store.save_node(build_node(name, registered_at=at(moment)))
    some = await store.load_nodes(node_ids=["a", "c", "unknown"])
    assert list(some) == [node for node in await store.load_nodes() if node.node_id != "b"]
    assert not await store.load_nodes(node_ids=[])
    assert not await store.load_nodes(NodeStatus.OFFLINE, ["a"])


async def test_a_nodes_version_is_another_one_after_each_write_and_not_after_beats(store: Store) -> None:
    seen = [{}, await store.node_versions()]
    assert seen[1] == {}
    for write in (
        store.open_session(build_node("a")),
        store.open_session(build_node("a")),
        store.save_node(build_node("a", session_no=2, unhealthy="no answer"), 2),
        store.set_service("a", cordoned=True, drain=None),
        store.remove_node("a"),
        store.open_session(build_node("a")),
    ):
        await write
        seen.append(await store.node_versions())
    numbers = [versions["a"] for versions in seen if versions]
    assert len(numbers) == len(set(numbers)) == 5
    await store.open_session(build_node("b"))
    await store.beat({"a": 1}, NOW)
    assert (await store.node_versions())["a"] == numbers[-1]
    assert not await store.save_node(build_node("a", session_no=9), 9)
    assert (await store.node_versions())["a"] == numbers[-1]


async def test_session_numbers_grow_per_node(store: Store) -> None:
    assert await store.open_session(build_node("a")) == 1
    assert await store.open_session(build_node("b")) == 1
    assert await store.open_session(build_node("a")) == 2
    assert (await node_of(store, "a")).session_no == 2
    assert (await beat_of(store, "a")).session_no == 2


async def test_a_session_makes_the_node_what_it_says_and_online(store: Store) -> None:
    await store.open_session(build_node())
    told = build_node(
        status=NodeStatus.OFFLINE, hostname="new", labels={"a": "b"}, session_no=40, last_heartbeat=at(5)
    )
    number = await store.open_session(told)
    assert number == 2
    assert await node_of(store) == replace(told, status=NodeStatus.ONLINE, session_no=2)


async def test_a_node_that_was_only_registered_may_open_a_session(store: Store) -> None:
    await store.save_node(build_node())
    assert await store.open_session(build_node()) == 1
    assert await store.beat({"node-1": 0}, at(1)) == frozenset()
    assert await store.beat({"node-1": 1}, at(1)) == {"node-1"}


async def test_saving_may_expect_the_session(store: Store) -> None:
    node = build_node()
    first = await store.open_session(node)
    second = await store.open_session(node)
    unhealthy = replace(node, session_no=second, unhealthy="no answer")
    assert not await store.save_node(unhealthy, first)
    assert (await node_of(store)).unhealthy is None
    assert await store.save_node(unhealthy, second)
    assert (await node_of(store)).unhealthy == "no answer"


async def test_an_expected_session_of_an_unknown_node_is_no_session(store: Store) -> None:
    assert not await store.save_node(build_node(), 1)
    assert not await store.save_node(build_node(), 0)
    assert not await store.load_nodes()


async def test_saving_replaces_the_node_and_keeps_its_counter(store: Store) -> None:
    number = await store.open_session(build_node())
    await store.beat({"node-1": number}, at(1))
    before = await beat_of(store)
    offline = build_node(status=NodeStatus.OFFLINE, session_no=number, lost_reason="why", hostname="other")
    assert await store.save_node(offline)
    found = await node_of(store)
    assert replace(found, last_heartbeat=NOW) == offline
    assert (await beat_of(store)).counter == before.counter


async def test_a_removed_node_is_gone_with_its_beat(store: Store) -> None:
    await store.open_session(build_node("a"))
    await store.open_session(build_node("b"))
    assert await store.remove_node("a")
    assert not await store.remove_node("a")
    assert [node.node_id for node in await store.load_nodes()] == ["b"]
    assert [beat.node_id for beat in await store.load_beats()] == ["b"]
    assert await store.beat({"a": 1}, NOW) == frozenset()


# Beats


async def test_beats_raise_counters_and_tell_the_time(store: Store) -> None:
    numbers = {name: await store.open_session(build_node(name)) for name in ("a", "b", "c")}
    before = {beat.node_id: beat for beat in await store.load_beats()}
    counted = await store.beat({"a": numbers["a"], "b": numbers["b"], "nobody": 1}, at(7))
    assert counted == frozenset({"a", "b"})
    after = {beat.node_id: beat for beat in await store.load_beats()}
    for name in ("a", "b"):
        assert after[name] == before[name]._replace(counter=before[name].counter + 1, at=at(7))
    assert after["c"] == before["c"]
    assert (await node_of(store, "a")).last_heartbeat == at(7)


async def test_no_beats_count_nothing(store: Store) -> None:
    await store.open_session(build_node())
    before = await beat_of(store)
    assert await store.beat({}, at(1)) == frozenset()
    assert await beat_of(store) == before


async def test_an_older_session_does_not_count(store: Store) -> None:
    first = await store.open_session(build_node())
    second = await store.open_session(build_node())
    before = await beat_of(store)
    assert await store.beat({"node-1": first}, at(1)) == frozenset()
    assert await store.beat({"node-1": second + 1}, at(1)) == frozenset()
    assert await beat_of(store) == before


async def test_a_new_session_moves_the_counter(store: Store) -> None:
    await store.open_session(build_node())
    before = await beat_of(store)
    await store.open_session(build_node())
    assert (await beat_of(store)).counter > before.counter


async def test_a_node_that_only_registered_beats_without_a_session(store: Store) -> None:
    await store.save_node(build_node())
    before = await beat_of(store)
    assert before.session_no == 0
    assert await store.beat({"node-1": 0}, at(2)) == {"node-1"}
    assert (await beat_of(store)).counter == before.counter + 1


# The mark of the lost


async def test_a_node_without_beats_is_marked_once(store: Store) -> None:
    await store.open_session(build_node())
    epoch = await lead(store)
    seen = await beat_of(store)
    assert not seen.lost
    assert await store.mark_lost("node-1", seen.counter, epoch)
    assert (await beat_of(store)).lost
    assert not await store.mark_lost("node-1", seen.counter, epoch)


async def test_a_beat_that_comes_first_prevents_the_mark(store: Store) -> None:
    number = await store.open_session(build_node())
    epoch = await lead(store)
    seen = await beat_of(store)
    assert await store.beat({"node-1": number}, at(1)) == {"node-1"}
    assert not await store.mark_lost("node-1", seen.counter, epoch)
    assert not (await beat_of(store)).lost


async def test_a_beat_that_comes_after_the_mark_does_not_count(store: Store) -> None:
    number = await store.open_session(build_node())
    epoch = await lead(store)
    seen = await beat_of(store)
    assert await store.mark_lost("node-1", seen.counter, epoch)
    assert await store.beat({"node-1": number}, at(1)) == frozenset()
    assert await beat_of(store) == seen._replace(lost=True)


async def test_a_new_session_clears_the_mark(store: Store) -> None:
    await store.open_session(build_node())
    epoch = await lead(store)
    seen = await beat_of(store)
    await store.mark_lost("node-1", seen.counter, epoch)
    number = await store.open_session(build_node())
    assert not (await beat_of(store)).lost
    assert not await store.mark_lost("node-1", seen.counter, epoch)
    assert await store.beat({"node-1": number}, at(1)) == {"node-1"}


async def test_saving_does_not_clear_the_mark_of_a_node_with_sessions(store: Store) -> None:
    number = await store.open_session(build_node())
    await store.mark_lost("node-1", (await beat_of(store)).counter, await lead(store))
    await store.save_node(build_node(session_no=number, cordoned=True))
    assert (await beat_of(store)).lost


async def test_registering_again_clears_the_mark_of_a_node_without_sessions(store: Store) -> None:
    await store.save_node(build_node())
    epoch = await lead(store)
    seen = await beat_of(store)
    await store.mark_lost("node-1", seen.counter, epoch)
    await store.save_node(build_node(status=NodeStatus.OFFLINE))
    assert (await beat_of(store)).lost
    await store.save_node(build_node())
    after = await beat_of(store)
    assert not after.lost
    assert after.counter > seen.counter
    assert await store.beat({"node-1": 0}, at(1)) == {"node-1"}


async def test_an_unknown_node_is_not_marked(store: Store) -> None:
    assert not await store.mark_lost("nobody", 0, await lead(store))
    assert not await store.load_beats()


async def test_a_stale_leader_marks_nobody(store: Store) -> None:
    await store.open_session(build_node())
    stale = await lead(store)
    await lead(store)
    seen = await beat_of(store)
    with pytest.raises(StaleEpoch):
        await store.mark_lost("node-1", seen.counter, stale)
    assert await beat_of(store) == seen
