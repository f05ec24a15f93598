"""What an event changes, and the pieces that every move is made of."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from podling.core.task import Attempt, AttemptStatus, Task, TaskEvent
from podling.core.value import changed, value

MAX_ERROR_CHARACTERS = 4096


CANCEL_REQUESTED = "cancel_requested"
"""The event that names who cancelled a task, and why."""


class Actor(StrEnum):
    """Who may cause a move."""

    CLIENT = "client"
    LEADER = "leader"
    WORKER = "worker"
    TASK = "task"  # the program inside an attempt


@value
class Transition:
    """What an event changes: the task as it shall be, its attempt's row, lines of the timeline.

    A transition whose `task` is the old one changes nothing and need not be committed.
    """

    task: Task
    attempt: Attempt | None = None
    events: tuple[TaskEvent, ...] = ()


def moved(task: Task, **fields: Any) -> Task:
    """Return the task changed in these fields, as its next version. Each move does it once."""
    return changed(task, version=task.version + 1, **fields)


def attempt_row(
    task: Task,
    status: AttemptStatus,
    error_code: str | None = None,
    error: str | None = None,
    retry_at: datetime | None = None,
) -> Attempt | None:
    """Return the row of the task's current attempt; None before the first."""
    if task.attempt == 0 or task.node_id is None or task.scheduled_at is None:
        return None
    return Attempt(
        task_id=task.task_id,
        attempt=task.attempt,
        node_id=task.node_id,
        status=status,
        scheduled_at=task.scheduled_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        exit_code=task.exit_code,
        error_code=error_code,
        error=cut(error),
        retry_at=retry_at,
        containers=task.containers,
    )


def line(task: Task, at: datetime, type_: str, message: str, actor: str) -> TaskEvent:
    """Return a line of the timeline about the task's current attempt."""
    return TaskEvent(
        task_id=task.task_id,
        at=at,
        type=type_,
        actor=str(actor),
        message=message,
        attempt=task.attempt or None,
    )


def cut(text: str | None) -> str | None:
    """Return no more of an error's text than is kept."""
    return text if text is None else text[:MAX_ERROR_CHARACTERS]
