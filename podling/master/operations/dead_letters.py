"""The list of dead letters: read, replayed and dismissed, one by one or as a filter says.

A letter leaves the list in the transaction that dismisses it or makes its replay, so an order that is
repeated after a lost answer finds what is left, and never makes a second replay.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime

from podling.core.access import Principal
from podling.core.dead_letters import DeadLetter, dismissal
from podling.core.errors import IllegalTransition, PodlingError
from podling.core.page import Place
from podling.core.task import Task, TaskStatus
from podling.core.value import value
from podling.master.context import MasterContext
from podling.master.operations import tasks
from podling.store.base import WriteResult
from podling.store.ports.dead_letters import DeadLetterQuery


@value
class Page:
    """Tasks on the list; `next_place` is where the next page begins, None if there is none."""

    tasks: Sequence[Task]
    next_place: Place | None


@value
class Dismissed:
    """How many letters were taken off, and where those begin that are left."""

    dismissed: int
    next_place: Place | None


@value
class ReplayedLetter:
    task_id: str
    replay_task_id: str


@value
class Refusal:
    task_id: str
    error: PodlingError


@value
class Replayed:
    """What was made of a page of letters; `refused` ones stay on the list."""

    replayed: Sequence[ReplayedLetter]
    refused: Sequence[Refusal] = field(default=())
    next_place: Place | None


async def page(context: MasterContext, query: DeadLetterQuery) -> Page:
    """Return the tasks on the list that are wanted, the last failed first."""
    letters, next_place = await _letters(context, query)
    found = await context.store.load_tasks([letter.task_id for letter in letters])
    listed = [found[letter.task_id] for letter in letters if letter.task_id in found]
    return Page(tasks=listed, next_place=next_place)


async def dismiss(context: MasterContext, task_id: str, actor: Principal) -> Task:
    """Take a failed task off the list, if it is there still. Raises NotFound, IllegalTransition."""
    task = await tasks.get(context, task_id)
    if task.status is not TaskStatus.FAILED:
        raise IllegalTransition(
            f"the task is {task.status}, and only one that has failed is a dead letter",
            details={"taskId": task_id, "status": str(task.status)},
        )
    await context.store.dead_letters.take_off([dismissal(task, context.clock.now(), actor.name)])
    return task


async def dismiss_many(context: MasterContext, query: DeadLetterQuery, actor: Principal) -> Dismissed:
    """Take a page of letters off the list."""
    found = await page(context, query)
    now = context.clock.now()
    lines = [dismissal(task, now, actor.name) for task in found.tasks]
    gone = await context.store.dead_letters.take_off(lines)
    return Dismissed(dismissed=len(gone), next_place=found.next_place)


async def replay_many(
    context: MasterContext,
    query: DeadLetterQuery,
    queue: str | None,
    run_at: datetime | None,
    actor: Principal,
) -> Replayed:
    """Replay a page of letters, the first failed first, but not those that somebody else just took.

    It is no longer than what the operator lets this one submit at once.
    """
    most = context.policy.policy.limits_of(actor.roles)[1].batch
    query = query if most is None else replace(query, limit=max(1, min(query.limit, int(most))))
    found = await page(context, query)
    replayed, refused = [], []
    begun: list[tuple[Task, asyncio.Future[Task | WriteResult]]] = []
    for index, task in enumerate(reversed(found.tasks), 1):
        try:
            made = await tasks.begin_replay(context, task, queue, run_at, actor, only_if_listed=True)
            begun.append((task, made))
        except PodlingError as error:
            refused.append(Refusal(task_id=task.task_id, error=error))
        if index % tasks.AT_A_TIME == 0:
            await asyncio.sleep(0)
    for task, made in begun:
        try:
            answer = await made
        except PodlingError as error:
            refused.append(Refusal(task_id=task.task_id, error=error))
            continue
        if isinstance(answer, Task):
            replayed.append(ReplayedLetter(task_id=task.task_id, replay_task_id=answer.task_id))
    return Replayed(replayed=replayed, refused=refused, next_place=found.next_place)


async def _letters(
    context: MasterContext, query: DeadLetterQuery
) -> tuple[Sequence[DeadLetter], Place | None]:
    # One more than asked for tells whether there is a next page.
    found = await context.store.dead_letters.find(replace(query, limit=query.limit + 1))
    letters = found[: query.limit]
    last = letters[-1] if len(found) > query.limit else None
    return letters, None if last is None else (last.at, last.task_id)
