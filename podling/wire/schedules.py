"""Schedules on the wire: the rule, and in `task` what would be posted to `/tasks`."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson

from podling.core.errors import InvalidInput, PodlingError
from podling.core.schedule import Fire, Schedule, ScheduleEntry, ScheduleRule
from podling.core.spec import TaskSpec
from podling.core.value import camel_case
from podling.wire.body import refuse_unknown
from podling.wire.codec import decode, outside, to_plain
from podling.wire.tasks import parse_task

_RULE = frozenset(camel_case(field.name) for field in fields(ScheduleRule))
OUTPUT_ONLY = frozenset("scheduleId owner nextFires lastFire createdAt updatedAt".split())
_ADDED = ("env", "labels")


def parse_schedule(plain: Mapping[str, Any]) -> tuple[ScheduleRule, TaskSpec]:
    """Return the rule and its task, with defaults. Raises InvalidInput by field.

    A task without a name has the schedule's. What the fields may hold is decided by the core.
    """
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, _RULE | {"task"})
    if "task" not in given:
        raise InvalidInput.field("task", "is required: what is to be run, as for POST /tasks")
    task = given.pop("task")
    rule = decode(ScheduleRule, orjson.dumps(given))
    if not isinstance(task, dict):
        raise InvalidInput.field("task", "must be a JSON object, with the fields of a task")
    return rule, _parsed(task if task.get("name") is not None else task | {"name": rule.name})


def fired_until(plain: Mapping[str, Any]) -> datetime | None:
    """Return the last time that fired where this was read, so that another cluster does not fire it again.

    Beside that what is only read may hold anything.
    """
    last = plain.get("lastFire")
    told = last.get("fireTime") if isinstance(last, dict) else None
    try:
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at


def _parsed(task: Mapping[str, Any]) -> TaskSpec:
    try:
        return parse_task(task)
    except InvalidInput as error:
        raise in_task(error) from None


def in_task(error: PodlingError) -> PodlingError:
    """Name the task's fields as they were sent: `task.image`, not `image`."""
    if "field" not in error.details:
        return error
    details = error.details | {"field": f"task.{error.details['field']}"}
    return type(error)(f"task.{error.message}", code=error.code, details=details)


def overridden(task: TaskSpec, given: Mapping[str, Any], idempotency_key: str | None = None) -> TaskSpec:
    """Return the task with other fields; `env` and `labels` are added to its own. Raises InvalidInput."""
    if not given and idempotency_key is None:
        return task
    shown = to_plain(spec_view(task))
    changed = {key: item for key, item in given.items() if item is not None}
    for key in _ADDED:
        if isinstance(changed.get(key), dict):
            changed[key] = shown[key] | changed[key]
    return parse_task(shown | changed, idempotency_key)


def spec_view(spec: TaskSpec) -> dict[str, Any]:
    """Return what can be posted again to submit such a task."""
    shown, container = outside(spec), outside(spec.containers[0])
    for name in ("containers", "kind", "replayOf"):
        del shown[name]
    del container["name"]
    return {**shown, **container}


def schedule_view(entry: ScheduleEntry, next_fires: list[datetime]) -> dict[str, Any]:
    schedule: Schedule = entry.schedule
    last = entry.state.last
    return {
        "scheduleId": schedule.schedule_id,
        "name": schedule.name,
        "cron": schedule.cron,
        "timeZone": schedule.time_zone,
        "overlap": schedule.overlap,
        "catchUp": schedule.catch_up,
        "maxCatchUp": schedule.max_catch_up,
        "jitterSeconds": schedule.jitter_seconds,
        "paused": schedule.paused,
        "task": spec_view(schedule.task),
        "nextFires": next_fires,
        "lastFire": None if last is None else fire_view(last),
        "owner": schedule.owner,
        "createdAt": schedule.created_at,
        "updatedAt": schedule.updated_at,
    }


def fire_view(fire: Fire) -> dict[str, Any]:
    shown: dict[str, Any] = outside(fire)
    del shown["scheduleId"]
    return shown
