"""Nodes: those that dial in, and those that only registered by REST."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from podling.core.errors import Conflict, NotFound
from podling.core.node import Drain, Node, NodeStatus
from podling.core.page import Place
from podling.core.placement import meets
from podling.core.policy import validate_node_registration
from podling.core.spec import Constraint
from podling.core.value import value
from podling.master.context import MasterContext
from podling.store.base import LogTail
from podling.wire.nodes import Registration

MOST_TRIES = 4


async def register(context: MasterContext, registration: Registration) -> Node:
    """List a node that will only send heartbeats; it is never planned on.

    The same hostname and port is the same node. Raises InvalidInput, Conflict if a worker has
    connected as this node meanwhile.
    """
    validate_node_registration(
        registration.hostname, registration.port, registration.capacity, labels=registration.labels
    )
    now = context.clock.now()
    known = _same_place(context, registration)
    node = Node(
        node_id=known.node_id if known else context.new_id(),
        hostname=registration.hostname,
        port=registration.port,
        status=NodeStatus.ONLINE,
        capacity=registration.capacity,
        allocatable=registration.capacity,
        labels=registration.labels,
        registered_at=known.registered_at if known else now,
        last_heartbeat=now,
        cordoned=known.cordoned if known else False,
    )
    if known is None:
        await asyncio.shield(_save(context, node, None))
        return node
    return await _change(context, node.node_id, lambda known: _still_without_session(known, node))


def _same_place(context: MasterContext, registration: Registration) -> Node | None:
    place = (registration.hostname, registration.port)
    return next(
        (
            node
            for node in context.view.nodes()
            if node.session_no == 0 and (node.hostname, node.port) == place
        ),
        None,
    )


async def heartbeat(context: MasterContext, node_id: str) -> Node:
    """Keep a node that registered by REST online. Raises NotFound, Conflict for one with a session."""
    now = context.clock.now()

    def online(known: Node) -> Node:
        alive = replace(known, status=NodeStatus.ONLINE, lost_reason=None, last_heartbeat=now)
        return _still_without_session(known, alive)

    known = _find(context, node_id)
    node = online(known)
    if not known.is_online or node_id not in await context.store.beat({node_id: 0}, now):
        node = await _change(context, node_id, online)
    return node


def _still_without_session(known: Node, node: Node) -> Node:
    """Return the node as it shall be, if no worker has connected as it."""
    if known.session_no > 0:
        raise Conflict("this node's worker beats over its session", code="has_session")
    return node


@value
class NodeQuery:
    """Filters are joined by and. Newest first by (registered_at, node_id); `after` is the last seen."""

    status: NodeStatus | None = None
    labels: tuple[Constraint, ...] = ()
    after: Place | None = None
    limit: int


def place(node: Node) -> Place:
    """Return what nodes are listed by."""
    return node.registered_at, node.node_id


async def list_nodes(context: MasterContext, query: NodeQuery) -> Sequence[Node]:
    """Return nodes, newest registration first, with their last heartbeats."""
    nodes = await context.store.load_nodes(query.status)
    chosen = (
        node
        for node in nodes
        if (query.after is None or place(node) < query.after)
        and all(meets(node.labels, label) for label in query.labels)
    )
    return list(islice(chosen, query.limit))


async def get_node(context: MasterContext, node_id: str) -> Node:
    """Raises NotFound."""
    found = await context.store.load_node(node_id)
    if found is None:
        raise NotFound.of("node")
    return found


async def cordon(context: MasterContext, node_id: str, cordoned: bool) -> Node:
    """Take no new work there (True), or again (False); either ends a drain. Raises NotFound."""
    return await _serve(context, node_id, cordoned, None)


async def drain(context: MasterContext, node_id: str, deadline_seconds: float | None) -> Node:
    """Empty the node: no new work, and what has not started goes elsewhere at once. Raises NotFound.

    What runs is waited for, or stopped after `deadline_seconds` to go elsewhere, charged to nothing.
    """
    wish = Drain(since=context.clock.now(), deadline_seconds=deadline_seconds)
    return await _serve(context, node_id, True, wish)


async def _serve(context: MasterContext, node_id: str, cordoned: bool, wish: Drain | None) -> Node:
    async def serve() -> Node | None:
        async with context.node_rows.turn(node_id):
            node = await context.store.set_service(node_id, cordoned=cordoned, drain=wish)
            if node is not None:
                context.node_rows.put(node)
        if node is not None:
            context.node_changed(node_id)
        return node

    if (node := await asyncio.shield(serve())) is None:
        raise NotFound.of("node")
    return node


async def save_tails(context: MasterContext, node_id: str, tails: Sequence[LogTail]) -> None:
    """Keep the output of attempts that are, or were, this node's; others are left out."""
    mine = []
    for tail in tails:
        task = context.view.task(tail.task_id)
        if task is not None and task.attempt == tail.attempt:
            owner = task.node_id
        else:
            rows = await context.store.load_attempts(tail.task_id)
            owner = next((row.node_id for row in rows if row.attempt == tail.attempt), None)
        if owner == node_id:
            mine.append(tail)
    await context.store.save_tails(mine)


# Store and view change together, also if the caller has gone meanwhile.


async def _change(context: MasterContext, node_id: str, change: Callable[[Node], Node]) -> Node:
    """Write what `change` makes of the node; again, if the node has connected anew at another master."""
    for _ in range(MOST_TRIES):
        known = _find(context, node_id)
        changed = change(known)
        if await asyncio.shield(_save(context, changed, known.session_no)):
            return changed
    raise Conflict("the node connects anew all the time; try again")


async def _save(context: MasterContext, node: Node, expected_session_no: int | None) -> bool:
    async with context.node_rows.turn(node.node_id):
        return await context.node_rows.save(node, expected_session_no)


def _find(context: MasterContext, node_id: str) -> Node:
    node = context.view.node(node_id)
    if node is None:
        raise NotFound.of("node")
    return node
