"""The one place that knows how the core's values lie in columns.

Specs, attempts, events and nodes are JSONB with the core's own field names; a task's state is a few
columns, and one JSONB `detail` for what most tasks do not have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

import asyncpg
import orjson

from podling.core.limits import deadline_at, queue_timeout_at
from podling.core.spec import TaskSpec
from podling.core.task import Attempt, ContainerState, HealthStatus, StopReason, Task, TaskEvent, TaskStatus
from podling.core.value import value
from podling.store.base import TaskWrite
from podling.wire.codec import Compact, validator

_T = TypeVar("_T")
Row = dict[str, Any]
"""A row on its way in: the database gets many of them as one JSON document."""


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
    progress: float | None = None
    result: str | None = None
    done_at: datetime | None = None


_SAID_NAMES = ("progress", "result", "done_at")  # by few tasks, so what was not said is left out
_DETAIL_NAMES = tuple(TaskDetail.__dataclass_fields__)
_read_detail = attrgetter(*_DETAIL_NAMES)
_NO_DETAIL = TaskDetail()
_DETAIL_DEFAULTS = _read_detail(_NO_DETAIL)


def to_json(item: Any) -> str:
    """Return the JSON of a value. PostgreSQL cannot keep NUL in text, so it becomes U+FFFD."""
    text = orjson.dumps(item, default=_plain).decode()
    if "\\u0000" in text:
        return orjson.dumps(_without_nul(orjson.loads(text))).decode()
    return text


def rows_to_json(rows: Iterable[Row]) -> str:
    """Return rows as one document; a column that is absent is null, which costs nobody a byte."""
    return to_json([{name: part for name, part in row.items() if part is not None} for row in rows])


def from_json(kind: type[_T], body: str) -> _T:
    """Read a value that `to_json` has written, perhaps that of a newer master with further fields."""
    value: _T = validator(kind).validate_json(body, by_alias=False, by_name=True, extra="ignore")
    return value


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


def compact_json(item: Any) -> str:
    """Return the JSON of a value without the fields that are at their defaults.

    What is read again has the defaults of the version that reads: so they never change.
    """
    text = _compact.encode(item).decode()
    if "\\u0000" in text:
        return orjson.dumps(_without_nul(orjson.loads(text))).decode()
    return text


# The views for SQL show `env`, and an empty one is not null.
_compact = Compact(str, always=frozenset({"env"}))


def detail_of(task: Task) -> dict[str, Any] | None:
    """Return the fields of the task's detail, None if all are at their defaults."""
    values = _read_detail(task)
    if values == _DETAIL_DEFAULTS:
        return None
    detail = dict(zip(_DETAIL_NAMES, values, strict=True))
    for name in _SAID_NAMES:
        if detail[name] is None:
            del detail[name]
    return detail


def spec_row(task: Task) -> Row:
    """Return the row of `task_specs`, without its body."""
    spec = task.spec
    return {
        "task_id": task.task_id,
        "created_at": task.created_at,
        "kind": spec.kind,
        "name": spec.name,
        "queue": spec.queue,
        "labels": spec.labels,
    }


def state_row(task: Task) -> Row:
    """Return the columns that `live_tasks` and `ended_tasks` share."""
    return {
        "task_id": task.task_id,
        "version": task.version,
        "status": task.status,
        "precedence": -task.spec.priority,
        "shape": task.shape,
        "attempt": task.attempt,
        "node_id": task.node_id,
        "created_at": task.created_at,
        "run_at": task.run_at,
        "scheduled_at": task.scheduled_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "exit_code": task.exit_code,
        "error_code": task.error_code,
        "detail": detail_of(task),
    }


def live_row(task: Task, now: datetime) -> Row:
    """Return the row of `live_tasks`, with what the task waits for."""
    row = state_row(task)
    row["due"] = task.status is TaskStatus.PENDING and task.run_at <= now
    row["queue_timeout_at"] = queue_timeout_at(task)
    row["deadline_at"] = deadline_at(task)
    return row


def moved_row(write: TaskWrite, now: datetime) -> Row:
    """Return the row of `live_tasks` with the version that it must have before."""
    return live_row(write.task, now) | {"expected_version": write.expected_version}


def attempt_columns(attempts: Sequence[Attempt]) -> tuple[list[Any], ...]:
    """Return the columns of rows of `attempts`: task_id, attempt, node_id, status, body."""
    return (
        [attempt.task_id for attempt in attempts],
        [attempt.attempt for attempt in attempts],
        [attempt.node_id for attempt in attempts],
        [attempt.status.value for attempt in attempts],
        [to_json(attempt) for attempt in attempts],  # whole, or it would outgrow its place at its end
    )


def event_columns(events: Sequence[TaskEvent]) -> tuple[list[Any], ...]:
    """Return the columns of rows of `task_events`: task_id, type, body."""
    return (
        [event.task_id for event in events],
        [event.type for event in events],
        [to_json(event) for event in events],
    )


def kept_columns(writes: Sequence[TaskWrite]) -> tuple[list[Any], ...]:
    """Return the columns of what is kept of writes beside states: attempts, in their order, and events."""
    attempts = {(row.task_id, row.attempt): row for write in writes for row in write.attempts}
    events = [event for write in writes for event in write.events]
    return *attempt_columns([attempts[key] for key in sorted(attempts)]), *event_columns(events)


def event_row(event: TaskEvent) -> Row:
    """Return the row of `task_events`."""
    return {"task_id": event.task_id, "type": event.type, "body": event}


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
        **dict(zip(_DETAIL_NAMES, _read_detail(detail), strict=True)),
    )


def read_all(kind: type[_T], bodies: Iterable[str]) -> list[_T]:
    """Read values that `to_json` has written."""
    return [from_json(kind, body) for body in bodies]
