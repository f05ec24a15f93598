"""When a task has waited, or taken, longer than its submitter allowed."""

from datetime import datetime, timedelta

from podling.core.task import Task, TaskStatus


def queue_timeout_at(task: Task) -> datetime | None:
    """Return when a pending task has waited too long for a node; None if that cannot happen."""
    if task.status is not TaskStatus.PENDING:
        return None
    return later(max(task.created_at, task.run_at), task.spec.queue_timeout_seconds)


def deadline_at(task: Task) -> datetime | None:
    """Return when the whole task is overdue; None if it has ended, was told to stop, or has none."""
    if task.status.is_terminal or task.must_end:
        return None
    return later(task.created_at, task.spec.deadline_seconds)


def later(start: datetime | None, seconds: float | None) -> datetime | None:
    """Return `start` and so many seconds; None without either, and after the year 9999: never."""
    if start is None or seconds is None:
        return None
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None
