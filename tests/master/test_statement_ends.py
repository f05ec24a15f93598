"""What SQL tasks have committed of their ends completes them, whoever else speaks of them."""

import json
from datetime import timedelta

from podling.core.lifecycle import Assign, Lose
from podling.core.protocol import ReportKind
from podling.core.task import Task, TaskStatus
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.master.loops.inbox import InboxLoop
from podling.master.operations import tasks
from podling.store.ports.inbox import InboxKind
from podling.wire.tasks import parse_task
from tests.builders import reported
from tests.master.test_inbox import HTTP, drain, waiting
from tests.master.world import World

SQL = {"name": "s", "runtime": "sql", "statement": "SELECT 1"}


async def running(context: MasterContext) -> Task:
    task, _ = await tasks.submit(context, parse_task(SQL), HTTP)
    (assigned,) = await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="node-1"))])
    assert isinstance(assigned, Task)
    return await context.committer.apply(task.task_id, reported(assigned, ReportKind.RUNNING))


async def leave_end(context: MasterContext, task: Task, attempt: int = 1) -> str:
    at = context.clock.now() + timedelta(seconds=1)
    body = {"attempt": attempt, "nodeId": "node-1", "at": at.isoformat()}
    await context.store.inbox.put(InboxKind.END, task.task_id, json.dumps(body))
    return at.isoformat()


async def state(context: MasterContext, task: Task) -> Task:
    return (await context.store.load_tasks([task.task_id]))[task.task_id]


async def test_the_leader_completes_them(world: World) -> None:
    context = await world.leader()
    task = await running(context)
    at = await leave_end(context, task)
    await drain(InboxLoop(context))
    over = await state(context, task)
    assert (over.status, over.attempt, over.exit_code) == (TaskStatus.COMPLETED, 1, 0)
    assert over.finished_at is not None and over.finished_at.isoformat() == at
    assert await waiting(context) == []


async def test_what_is_late_or_wrong_holds_up_nobody(world: World) -> None:
    context = await world.leader()
    ended, newer, good = [await running(context) for _ in range(3)]
    await context.committer.apply(ended.task_id, reported(ended, ReportKind.ENDED, exit_code=3))
    await leave_end(context, ended)
    await leave_end(context, newer, attempt=2)
    for body in ("{}", '{"attempt": "x", "nodeId": 1, "at": "soon"}', "[]"):
        await context.store.inbox.put(InboxKind.END, good.task_id, body)
    await context.store.inbox.put(
        InboxKind.END, "nobody", json.dumps({"attempt": 1, "nodeId": "n", "at": "2026-11-27T10:00:00Z"})
    )
    await leave_end(context, good)
    await drain(InboxLoop(context))
    states = [(await state(context, task)).status for task in (ended, newer, good)]
    assert states == [TaskStatus.FAILED, TaskStatus.RUNNING, TaskStatus.COMPLETED]
    assert await waiting(context) == []


async def test_a_lost_node_does_not_run_again_what_is_done(world: World) -> None:
    context = await world.leader()
    task = await running(context)
    await leave_end(context, task)
    await drain(InboxLoop(context))
    lost = Lose(attempt=1, reason="gone")
    (answer,) = await context.committer.apply_as_leader([Happening(task.task_id, lost, known=task)])
    assert not isinstance(answer, Task)
    assert (await state(context, task)).status is TaskStatus.COMPLETED
