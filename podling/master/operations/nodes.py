"""Nodes: those that dial in, and those that only registered by REST."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from podling.core.errors import Conflict, NotFound
from podling.core.node import Node, NodeStatus
from podling.core.policy import validate_node_registration
from podling.kit.ids import new_id
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
        node_id=known.node_id if known else new_id(now),
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


async def deregister(context: MasterContext, node_id: str) -> None:
    """Take a node off the list. Raises NotFound, Conflict while it runs tasks or is connected."""
    node = _find(context, node_id)
    running = context.view.running_tasks(node_id)
    if running:
        raise Conflict(
            f"the node still has {running} tasks; cordon it and wait, or cancel them",
            code="node_busy",
            details={"nodeId": node_id, "runningTasks": running},
        )
    if node.session_no > 0 and node.status is NodeStatus.ONLINE:
        raise Conflict("the node's worker is connected; stop the worker first", code="node_online")
    await asyncio.shield(_remove(context, node_id))


async def list_nodes(context: MasterContext) -> Sequence[Node]:
    """Return all nodes, newest registration first, with their last heartbeats."""
    nodes = await context.store.load_nodes()
    beats = {beat.node_id: beat.at for beat in await context.store.load_beats()}
    return [_with_beat(node, beats.get(node.node_id)) for node in nodes]


async def get_node(context: MasterContext, node_id: str) -> Node:
    """Raises NotFound."""
    found = next((node for node in await list_nodes(context) if node.node_id == node_id), None)
    if found is None:
        raise NotFound.of("node")
    return found


async def cordon(context: MasterContext, node_id: str, cordoned: bool) -> Node:
    """Take no new work there (True), or again (False). Raises NotFound, Conflict."""
    node = replace(_find(context, node_id), cordoned=cordoned)
    if not await asyncio.shield(_save(context, node, node.session_no)):
        # It has begun a newer session at another master.
        node = replace(await get_node(context, node_id), cordoned=cordoned)
        if not await asyncio.shield(_save(context, node, node.session_no)):
            raise Conflict("the node is connecting at the moment; try again")
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


async def _remove(context: MasterContext, node_id: str) -> None:
    await context.store.remove_node(node_id)
    context.view.remove_node(node_id)


async def _change(context: MasterContext, node_id: str, change: Callable[[Node], Node]) -> Node:
    """Write what `change` makes of the node; again, if the node has connected anew at another master."""
    for _ in range(MOST_TRIES):
        known = _find(context, node_id)
        changed = change(known)
        if await asyncio.shield(_save(context, changed, known.session_no)):
            return changed
        await _refresh(context, node_id)
    raise Conflict("the node connects anew all the time; try again")


async def _save(context: MasterContext, node: Node, expected_session_no: int | None) -> bool:
    if not await context.store.save_node(node, expected_session_no):
        return False
    context.view.put_node(node)
    return True


async def _refresh(context: MasterContext, node_id: str) -> None:
    stored = {node.node_id: node for node in await context.store.load_nodes()}
    if node_id in stored:
        context.view.put_node(stored[node_id])
    else:
        context.view.remove_node(node_id)


def _find(context: MasterContext, node_id: str) -> Node:
    node = context.view.node(node_id)
    if node is None:
        raise NotFound.of("node")
    return node


def _with_beat(node: Node, at: datetime | None) -> Node:
    if at is None or at <= node.last_heartbeat:
        return node
    return replace(node, last_heartbeat=at)
