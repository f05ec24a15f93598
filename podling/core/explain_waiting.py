"""Why a task waits for others."""

from collections.abc import Mapping
from datetime import datetime

from podling.core.explanation import Explanation, Reason
from podling.core.graph import open_dependencies, wish_of
from podling.core.limits import deadline_at
from podling.core.spec import Dependency
from podling.core.task import Task, TaskStatus

MOST_PARENTS = 20  # told of those that have not ended


def explain_waiting(task: Task, parents: Mapping[str, TaskStatus], now: datetime) -> Explanation:
    """Name the tasks that it waits for; `parents` are those that are on record."""
    left, deadline = open_dependencies(task, parents), deadline_at(task)
    return Explanation(
        task_id=task.task_id,
        status=task.status,
        summary=_summary(task, left, parents),
        reasons=tuple(_reason(each, parents) for each in left[:MOST_PARENTS]) or (_DECIDING,),
        next_event_at=deadline if deadline is not None and deadline > now else None,
        advice=f"See podling explain {left[0].task_id} for what that one waits for." if left else None,
    )


_DECIDING = Reason(code="parents_ended", message="every task that it depends on has ended")


def _summary(task: Task, left: tuple[Dependency, ...], parents: Mapping[str, TaskStatus]) -> str:
    if not left:
        return "Every task that it depends on has ended, so the leader is about to decide about it."
    first = f"It waits for {wish_of(left[0])}, which is {parents[left[0].task_id].value}"
    if len(left) == 1:
        return f"{first}."
    every = len(task.spec.depends_on)
    return f"{first}, one of {len(left)} that have not ended of the {every} that it depends on."


def _reason(dependency: Dependency, parents: Mapping[str, TaskStatus]) -> Reason:
    status = parents[dependency.task_id]
    return Reason(
        code="waits_for_parent",
        message=f"waits for {wish_of(dependency)}, which is {status.value}",
        details={"taskId": dependency.task_id, "when": dependency.when, "status": status},
    )
