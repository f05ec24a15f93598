"""What an operator says about a node, beside what its worker says of itself."""

import asyncio
from dataclasses import replace

from podling.core.node import Drain, Node, NodeStatus
from podling.store.base import Store
from tests.builders import at, build_node

CALL_SECONDS = 10.0
DRAIN = Drain(since=at(3.000001), deadline_seconds=12.5)


async def node_of(store: Store) -> Node:
    node = await store.load_node("node-1")
    assert node is not None
    return node


async def test_it_is_kept_and_told_with_the_node(store: Store) -> None:
    number = await store.open_session(build_node(labels={"a": "b"}))
    answer = await store.set_service("node-1", cordoned=True, drain=DRAIN)
    expected = build_node(labels={"a": "b"}, session_no=number, cordoned=True, drain=DRAIN)
    assert answer == expected == await node_of(store)
    assert list(await store.load_nodes()) == [expected]
    assert (await store.snapshot()).nodes == (expected,)
    lifted = await store.set_service("node-1", cordoned=False, drain=None)
    assert lifted == replace(expected, cordoned=False, drain=None) == await node_of(store)


async def test_a_session_does_not_undo_what_was_said_at_another_master_just_before(store: Store) -> None:
    """The master that opens it may not know yet."""
    await store.open_session(build_node())
    await store.set_service("node-1", cordoned=True, drain=DRAIN)
    await store.open_session(build_node(hostname="moved", cordoned=False, drain=None))
    found = await node_of(store)
    assert (found.hostname, found.cordoned, found.drain) == ("moved", True, DRAIN)
    await store.set_service("node-1", cordoned=False, drain=None)
    await store.open_session(build_node(cordoned=True, drain=DRAIN))
    found = await node_of(store)
    assert (found.session_no, found.cordoned, found.drain) == (3, False, None)


async def test_saving_does_not_undo_it_either(store: Store) -> None:
    number = await store.open_session(build_node())
    await store.set_service("node-1", cordoned=True, drain=DRAIN)
    offline = build_node(session_no=number, status=NodeStatus.OFFLINE, unhealthy="no answer")
    assert await store.save_node(offline, number)
    found = await node_of(store)
    assert (found.cordoned, found.drain, found.unhealthy) == (True, DRAIN, "no answer")
    assert found.status is NodeStatus.OFFLINE


async def test_a_removed_node_comes_back_without_it(store: Store) -> None:
    await store.open_session(build_node())
    await store.set_service("node-1", cordoned=True, drain=DRAIN)
    await store.remove_node("node-1")
    await store.open_session(build_node())
    found = await node_of(store)
    assert (found.cordoned, found.drain) == (False, None)


async def test_other_masters_are_called_to_learn_of_it(store: Store) -> None:
    await store.open_session(build_node())
    calls: asyncio.Queue[None] = asyncio.Queue()
    listening = asyncio.create_task(store.listen(lambda: None, lambda: calls.put_nowait(None)))
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await calls.get()  # it listens
            await store.set_service("node-1", cordoned=True, drain=DRAIN)
            await calls.get()
            await store.remove_node("node-1")
            await calls.get()
    finally:
        listening.cancel()


async def test_an_unknown_node_has_none(store: Store) -> None:
    assert await store.set_service("nobody", cordoned=True, drain=DRAIN) is None
    assert await store.load_node("nobody") is None
    assert not await store.load_nodes()
