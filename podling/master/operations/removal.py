"""A node is taken off the list; of one that is gone for good, an operator says so."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from podling.core.errors import Conflict, IllegalTransition, NotFound, StaleAttempt, Unavailable
from podling.core.lifecycle import DeclareLost, Resolve
from podling.core.node import Node
from podling.core.task import Resolution, Task
from podling.master.context import MasterContext
from podling.master.operations import joining

MOST_NAMED = 20  # tasks in a refusal


async def deregister(context: MasterContext, node_id: str) -> None:
    """Take a node off the list. Raises NotFound, Conflict while it runs tasks or is connected."""
    node = _find(context, node_id)
    running = context.view.running_tasks(node_id)
    if running:
        raise Conflict(
            f"the node still has {running} task{'s' * (running != 1)}; drain it and wait, or if it is gone"
            " for good, remove it as lost (podling node remove --lost)",
            code="node_busy",
            details={"nodeId": node_id, "runningTasks": running},
        )
    if node.session_no > 0 and node.is_online:
        raise Conflict("the node's worker is connected; stop the worker first", code="node_online")
    await asyncio.shield(_remove(context, node_id))


async def remove_as_lost(context: MasterContext, node_id: str, held: Resolution | None) -> None:
    """Take off a node that an operator knows is gone, and declare its attempts lost at once.

    `held` is what becomes of those that would wait for the node or an operator.
    It may be said again, also of a node that has left attempts behind and no record.
    Raises NotFound, Conflict if there are such and nothing is said about them, Unavailable if some
    could not be given up.
    """
    tasks = context.view.live_tasks_on(node_id)
    node = context.view.node(node_id)
    if node is None and not tasks:
        raise NotFound.of("node")
    waiting = [task for task in tasks if task.held is not None or task.spec.waits_when_lost]
    if waiting and held is None:
        raise Conflict(
            f"{len(waiting)} task{'s' * (len(waiting) != 1)} would wait for this node; say what became"
            " of them with --held retry|completed|failed|cancelled, or resolve each with podling resolve",
            code="node_held",
            details={"nodeId": node_id, "taskIds": [task.task_id for task in waiting[:MOST_NAMED]]},
        )
    name = node_id if node is None else f"{node.hostname} ({node_id})"
    reason = f"an operator removed node {name} as lost"
    await asyncio.shield(_give_up(context, node_id, tasks, reason, held))


async def _give_up(
    context: MasterContext, node_id: str, tasks: Sequence[Task], reason: str, held: Resolution | None
) -> None:
    """Without its record no beat of the node counts, so a worker that still lives connects anew and
    learns what it has to stop. What a crash leaves undone here, the node monitor does, but for `held`.
    """
    await _remove(context, node_id)
    declared = (_declare_lost(context, task, reason, held) for task in tasks)
    answers = await asyncio.gather(*declared, return_exceptions=True)
    failed = {task.task_id: answer for task, answer in zip(tasks, answers, strict=True) if answer is not None}
    for first in failed.values():
        raise Unavailable(
            f"node {node_id} is removed, but {len(failed)} of its {len(tasks)} tasks could not be given up"
            f" ({first}); repeat the command with the node's whole id",
            details={"nodeId": node_id, "taskIds": list(failed)[:MOST_NAMED]},
        ) from first


async def _declare_lost(context: MasterContext, task: Task, reason: str, held: Resolution | None) -> None:
    with suppress(StaleAttempt, IllegalTransition):  # it has ended meanwhile
        task = await context.committer.apply(task.task_id, DeclareLost(attempt=task.attempt, reason=reason))
        if task.held is not None and held is not None:
            await context.committer.apply(task.task_id, Resolve(outcome=held, attempt=task.attempt))


async def _remove(context: MasterContext, node_id: str) -> None:
    await joining.end(context, node_id)
    async with context.node_rows.turn(node_id):
        await context.node_rows.remove(node_id)
    context.node_changed(node_id)


def _find(context: MasterContext, node_id: str) -> Node:
    node = context.view.node(node_id)
    if node is None:
        raise NotFound.of("node")
    return node
