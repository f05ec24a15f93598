"""What an operator says about a node while its worker, or the monitor, writes the node too."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from podling.core.node import Node, NodeStatus
from podling.master.context import MasterContext
from podling.master.loops.node_monitor import NodeMonitor
from podling.master.loops.peers import Peers
from podling.master.operations import nodes
from podling.master.sessions.registry import Sessions
from tests.builders import build_node
from tests.master.world import HELLO, LEASE, Faulty, World

ANSWERS_SECONDS = 10.0


class Racing:
    """A master whose operator drains the node just before, or after, one method of its store."""

    def __init__(self, world: World, context: MasterContext, faulty: Faulty) -> None:
        self.world = world
        self.context = context
        self.faulty = faulty
        self.sessions = Sessions(context, lambda _: None)
        self._drains: list[asyncio.Task[Node]] = []

    def drain_before(self, method: str) -> None:
        self.faulty.before[method] = self._drain_once(method, self.faulty.before)

    def drain_after(self, method: str) -> None:
        self.faulty.after[method] = self._drain_once(method, self.faulty.after)

    def _drain_once(
        self, method: str, hooks: dict[str, Callable[[], Awaitable[None]]]
    ) -> Callable[[], Awaitable[None]]:
        async def drain() -> None:
            del hooks[method]
            self._drains.append(asyncio.create_task(nodes.drain(self.context, "node-1", None)))
            await asyncio.wait(self._drains, timeout=0.1)  # it may well have to wait for its turn

        return drain

    async def is_drained_everywhere(self) -> bool:
        async with asyncio.timeout(ANSWERS_SECONDS):
            (drain,) = self._drains
            await drain
        stored, shown = await self.world.store.load_node("node-1"), self.context.view.node("node-1")
        assert stored is not None and shown is not None
        assert (shown.session_no, shown.status, shown.unhealthy) == (
            stored.session_no,
            stored.status,
            stored.unhealthy,
        )
        return stored.drain is not None and shown.drain == stored.drain and shown.cordoned


@pytest.fixture
async def racing(world: World) -> Racing:
    faulty = Faulty(world.store)
    racing = Racing(world, await world.leader(store=faulty), faulty)
    await racing.sessions.open("node-1", HELLO)
    return racing


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_drain_while_its_worker_connects_is_not_lost(racing: Racing, moment: str) -> None:
    (racing.drain_before if moment == "before" else racing.drain_after)("open_session")
    session, _ = await racing.sessions.open("node-1", HELLO)
    assert await racing.is_drained_everywhere()
    assert racing.sessions.is_current(session)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_drain_while_the_runtime_falls_ill_is_not_lost(racing: Racing, moment: str) -> None:
    session = racing.sessions.get("node-1")
    assert session is not None
    (racing.drain_before if moment == "before" else racing.drain_after)("save_node")
    await racing.sessions.note_health(session, "no answer")
    assert await racing.is_drained_everywhere()
    node = racing.context.view.node("node-1")
    assert node is not None and node.unhealthy == "no answer"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_drain_while_the_worker_says_goodbye_is_not_lost(racing: Racing, moment: str) -> None:
    session = racing.sessions.get("node-1")
    assert session is not None
    (racing.drain_before if moment == "before" else racing.drain_after)("save_node")
    await racing.sessions.leave(session, "it got SIGTERM")
    assert await racing.is_drained_everywhere()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_drain_while_the_node_is_declared_lost_is_not_lost(racing: Racing, moment: str) -> None:
    monitor = NodeMonitor(racing.context, lambda _: None)
    await monitor.run_once()
    racing.world.clock.passed += LEASE
    (racing.drain_before if moment == "before" else racing.drain_after)("save_node")
    await monitor.run_once()
    assert await racing.is_drained_everywhere()
    node = racing.context.view.node("node-1")
    assert node is not None and node.status is NodeStatus.OFFLINE


async def test_what_was_said_at_another_master_is_known_with_the_next_write(racing: Racing) -> None:
    await racing.world.store.set_service("node-1", cordoned=True, drain=None)
    session = racing.sessions.get("node-1")
    assert session is not None
    await racing.sessions.note_health(session, "no answer")
    node = racing.context.view.node("node-1")
    assert node is not None and node.cordoned


async def test_a_list_that_was_read_before_a_drain_does_not_undo_it(racing: Racing) -> None:
    racing.drain_after("load_nodes")
    await Peers(racing.context, lambda _: None).load_nodes()
    assert await racing.is_drained_everywhere()


async def test_a_list_that_was_read_before_a_node_came_does_not_remove_it(world: World) -> None:
    faulty = Faulty(world.store)
    context = world.context(store=faulty)
    context.view.put_node(build_node())  # removed at another master by now
    sessions = Sessions(context, lambda _: None)

    async def connect() -> None:
        await sessions.open("node-1", HELLO)

    faulty.after["node_versions"] = connect
    await Peers(context, lambda _: None).load_nodes()
    node = context.view.node("node-1")
    assert node is not None and node.session_no == 1
