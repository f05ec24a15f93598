"""A node's row belongs to its newest session, whichever master holds that."""

from dataclasses import replace

import pytest

from podling.core.errors import Conflict
from podling.core.node import Node
from podling.master.loops.node_monitor import NodeMonitor
from podling.master.operations import nodes
from podling.wire.nodes import Registration
from tests.builders import build_node
from tests.master.bare_master import Leader

LEASE_SECONDS = 12.0


@pytest.fixture
async def leader() -> Leader:
    leader = Leader()
    await leader.lead()
    return leader


async def known(leader: Leader, node: Node) -> Node:
    """Open a session that this master knows of."""
    opened = replace(node, session_no=await leader.store.open_session(node))
    leader.put(opened)
    return opened


async def stored(leader: Leader) -> Node:
    (node,) = await leader.store.load_nodes()
    return node


async def test_a_cordon_joins_the_session_that_the_node_has_elsewhere(leader: Leader) -> None:
    await known(leader, build_node())
    await leader.store.open_session(build_node())
    cordoned = await nodes.cordon(leader.context, "node-1", True)
    assert (cordoned.session_no, cordoned.cordoned) == (2, True)
    assert await stored(leader) == cordoned == leader.context.view.node("node-1")
    assert await leader.store.beat({"node-1": 2}, leader.clock.now()) == {"node-1"}


async def test_a_heartbeat_by_rest_takes_no_node_from_its_worker(leader: Leader) -> None:
    leader.put(build_node())
    await leader.store.open_session(build_node())
    with pytest.raises(Conflict) as refusal:
        await nodes.heartbeat(leader.context, "node-1")
    assert refusal.value.code == "has_session"
    assert (await stored(leader)).session_no == 1


async def test_registering_again_does_not_lift_a_cordon(leader: Leader) -> None:
    form = Registration(hostname="a.test", port=8071, capacity={"slots": 1}, labels={})
    node = await nodes.register(leader.context, form)
    await nodes.cordon(leader.context, node.node_id, True)
    assert (await nodes.register(leader.context, form)).cordoned
    assert (await stored(leader)).cordoned


async def test_a_lost_node_keeps_the_session_number_that_this_master_does_not_know(leader: Leader) -> None:
    await known(leader, build_node())
    await leader.store.open_session(build_node())
    monitor = NodeMonitor(leader.context, lambda node_id: None)
    for leader.clock.seconds in (0.0, LEASE_SECONDS):
        await monitor.run_once()
    (beat,) = await leader.store.load_beats()
    assert beat.lost
    assert (await stored(leader)).session_no == 2
    leader.put(await stored(leader))
    await monitor.run_once()
    offline = await stored(leader)
    assert (offline.session_no, offline.is_online) == (2, False)


async def test_a_view_keeps_the_newer_of_two_sessions(leader: Leader) -> None:
    leader.put(build_node(session_no=2), build_node(session_no=1))
    node = leader.context.view.node("node-1")
    assert node is not None and node.session_no == 2
