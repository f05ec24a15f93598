"""The one place that knows how the core's values lie in columns.

Specs, attempts, events and nodes are JSONB with the core's own field names; a task's state is a few
columns, and one JSONB `detail` for what most tasks do not have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import asyncpg
import orjson

from podling.core.spec import TaskSpec
from podling.core.task import Attempt, ContainerState, HealthStatus, StopReason, Task, TaskEvent, TaskStatus
from podling.core.value import value
from podling.wire.codec import adapter

_T = TypeVar("_T")


@value
class TaskDetail:
    """The part of a task's state that is almost always at its defaults."""

    failures: int = 0
    losses: int = 0
    error: str | None = None
    dead_letter_reason: str | None = None
    stop_reason: StopReason | None = None
    stop_requested_at: datetime | None = None
    held: str | None = None
    health_status: HealthStatus = HealthStatus.UNKNOWN
    containers: tuple[ContainerState, ...] = field(default=())


_DETAIL_NAMES = tuple(TaskDetail.__dataclass_fields__)
_NO_DETAIL = TaskDetail()


def to_json(item: Any) -> str:
    """Return the JSON of a value. PostgreSQL cannot keep NUL in text, so it becomes U+FFFD."""
    text = orjson.dumps(item, default=_plain).decode()
    if "\\u0000" in text:
        return orjson.dumps(_without_nul(orjson.loads(text))).decode()
    return text


def from_json(kind: type[_T], body: str) -> _T:
    """Read a value that `to_json` has written."""
    return adapter(kind).validate_json(body, by_alias=False, by_name=True)


def _plain(item: Any) -> Any:
    if isinstance(item, Mapping):
        return dict(item)
    raise TypeError(f"no JSON form for {type(item).__name__}")


def _without_nul(item: Any) -> Any:
    if isinstance(item, str):
        return item.replace("\0", "\ufffd")
    if isinstance(item, list):
        return [_without_nul(part) for part in item]
    if isinstance(item, dict):
        return {_without_nul(key): _without_nul(part) for key, part in item.items()}
    return item


def detail_of(task: Task) -> str | None:
    """Return the task's detail as JSON, None if all of it is default."""
    detail = TaskDetail(**{name: getattr(task, name) for name in _DETAIL_NAMES})
    return None if detail == _NO_DETAIL else to_json(detail)


def queue_timeout_at(task: Task) -> datetime | None:
    """Return when the task has waited too long for a node; None if that cannot happen."""
    seconds = task.spec.queue_timeout_seconds
    if seconds is None or task.status is not TaskStatus.PENDING:
        return None
    return _later(max(task.created_at, task.run_at), seconds)


def deadline_at(task: Task) -> datetime | None:
    """Return when the whole task is overdue; None if it has no deadline or was told to stop."""
    seconds = task.spec.deadline_seconds
    if seconds is None or task.status.is_terminal or task.stop_reason is not None:
        return None
    return _later(task.created_at, seconds)


def _later(start: datetime, seconds: float) -> datetime | None:
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None  # beyond the year 9999: never


def spec_columns(tasks: Sequence[Task]) -> tuple[list[Any], ...]:
    """Return the arrays for `insert_specs`."""
    specs = [task.spec for task in tasks]
    return (
        [task.task_id for task in tasks],
        [task.created_at for task in tasks],
        [spec.kind for spec in specs],
        [spec.name for spec in specs],
        [spec.queue for spec in specs],
        [to_json(spec.labels) for spec in specs],
        [to_json(spec) for spec in specs],
    )


def state_columns(tasks: Sequence[Task]) -> tuple[list[Any], ...]:
    """Return the arrays that every write of a task's state begins with."""
    return (
        [task.task_id for task in tasks],
        [task.version for task in tasks],
        [task.status for task in tasks],
        [task.attempt for task in tasks],
        [task.node_id for task in tasks],
        [task.run_at for task in tasks],
        [task.scheduled_at for task in tasks],
        [task.started_at for task in tasks],
        [task.finished_at for task in tasks],
        [task.exit_code for task in tasks],
        [task.error_code for task in tasks],
        [detail_of(task) for task in tasks],
    )


def origin_columns(tasks: Sequence[Task]) -> tuple[list[Any], ...]:
    """Return the arrays of what never changes but is kept beside the state."""
    return (
        [-task.spec.priority for task in tasks],
        [task.shape for task in tasks],
        [task.created_at for task in tasks],
    )


def waiting_columns(tasks: Sequence[Task], now: datetime) -> tuple[list[Any], ...]:
    """Return the arrays that tell what a live row waits for."""
    return (
        [task.status is TaskStatus.PENDING and task.run_at <= now for task in tasks],
        [queue_timeout_at(task) for task in tasks],
        [deadline_at(task) for task in tasks],
    )


def attempt_columns(attempts: Sequence[Attempt]) -> tuple[list[Any], ...]:
    """Return the arrays for `save_attempts`."""
    return (
        [attempt.task_id for attempt in attempts],
        [attempt.attempt for attempt in attempts],
        [attempt.node_id for attempt in attempts],
        [attempt.status for attempt in attempts],
        [to_json(attempt) for attempt in attempts],
    )


def event_columns(events: Sequence[TaskEvent]) -> tuple[list[Any], ...]:
    """Return the arrays for `append_events`."""
    return (
        [event.task_id for event in events],
        [event.type for event in events],
        [to_json(event) for event in events],
    )


def read_task(row: asyncpg.Record, spec: TaskSpec) -> Task:
    """Put a row of `live_tasks` or `ended_tasks` and its spec together."""
    body = row["detail"]
    detail = _NO_DETAIL if body is None else from_json(TaskDetail, body)
    return Task(
        task_id=row["task_id"],
        spec=spec,
        status=TaskStatus(row["status"]),
        version=row["version"],
        created_at=row["created_at"],
        run_at=row["run_at"],
        shape=row["shape"],
        attempt=row["attempt"],
        node_id=row["node_id"],
        scheduled_at=row["scheduled_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        exit_code=row["exit_code"],
        error_code=row["error_code"],
        **{name: getattr(detail, name) for name in _DETAIL_NAMES},
    )


def read_all(kind: type[_T], bodies: Iterable[str]) -> list[_T]:
    """Read values that `to_json` has written."""
    return [from_json(kind, body) for body in bodies]
