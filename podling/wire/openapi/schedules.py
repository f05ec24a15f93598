"""Schedules, in the contract."""

from podling.core.cron import MOST_CHARACTERS
from podling.core.schedule import MOST_CATCH_UP, MOST_JITTER_SECONDS, CatchUp, Fire, Outcome, Overlap
from podling.wire.openapi import tasks
from podling.wire.openapi.nodes import MESSAGE
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    nullable,
    properties_of,
    reference,
)
from podling.wire.schedules import OUTPUT_ONLY
from podling.wire.tasks import OUTPUT_ONLY as TASK_OUTPUT_ONLY

TAG = "schedules"
ABOUT = "Cron rules that submit tasks, each fire time exactly once."

_SCHEDULE = reference("Schedule")
_TASK = reference("Task")


def _rule() -> dict[str, Schema]:
    return {
        "name": STRING | {"minLength": 1, "maxLength": 128},
        "cron": STRING | {"maxLength": MOST_CHARACTERS},
        "timeZone": STRING,
        "overlap": {"enum": list(map(str, Overlap))},
        "catchUp": {"enum": list(map(str, CatchUp))},
        "maxCatchUp": INTEGER | {"minimum": 1, "maximum": MOST_CATCH_UP},
        "jitterSeconds": NUMBER | {"minimum": 0, "maximum": MOST_JITTER_SECONDS},
        "paused": BOOLEAN,
    }


def _submission() -> Schema:
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    ignored["lastFire"] = {"description": "Its `fireTime`, of another cluster, is not fired again."}
    properties = ignored | _rule() | {"task": reference("ScheduledTask")}
    optional = [name for name in properties if name not in ("name", "cron", "task")]
    return closed("When, and in `task` what.", properties, optional=optional)


def _task(about: str) -> Schema:
    """A submission of which nothing is required: the schedule has a name already."""
    submission = tasks.SCHEMAS["TaskSubmission"]
    properties = submission["properties"] | {"name": nullable(STRING)}
    return submission | {"description": about, "properties": properties, "required": []}


def _shown_task() -> Schema:
    shown = tasks.SCHEMAS["Task"]["properties"]
    names = tasks.SCHEMAS["TaskSubmission"]["properties"].keys() - TASK_OUTPUT_ONLY
    properties = {name: shown[name] for name in shown if name in names} | {"runAt": nullable(TIME)}
    return closed("What its tasks are submitted with.", properties)


def _schedule() -> Schema:
    more = {
        "scheduleId": STRING,
        "task": reference("ShownTask"),
        "nextFires": array(TIME),
        "lastFire": nullable(reference("Fire")),
        "owner": STRING,
        "createdAt": TIME,
        "updatedAt": TIME,
    }
    return closed("A schedule, when it fires next, and what came of it last.", _rule() | more)


def _fire() -> Schema:
    properties = properties_of(Fire) | {"outcome": {"enum": list(map(str, Outcome))}}
    del properties["scheduleId"]
    return closed("What was decided of one fire time; `count` of them, up to it, were missed.", properties)


SCHEMAS = {
    "Schedule": _schedule(),
    "ScheduleSubmission": _submission(),
    "ScheduledTask": _task("What is to be run; without a name it has the schedule's."),
    "ScheduleOverrides": _task("Fields that take the place of the task's; `env` and `labels` are added."),
    "ShownTask": _shown_task(),
    "Fire": _fire(),
}

_EXAMPLE = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "timeZone": "Europe/Berlin",
    "task": {"image": "busybox", "args": ["echo", "good night"]},
}
_OUTCOME = Parameter(
    name="outcome", description="Only those with this outcome.", schema={"enum": list(map(str, Outcome))}
)
_BASE = "/api/v1/schedules"
_ONE = f"{_BASE}/{{id}}"
OPERATIONS = {
    f"POST {_BASE}": Operation(
        summary="Make a schedule",
        tag=TAG,
        description="Names are unique; `id` in a path is an id or a name. Its tasks are submitted in the "
        "name of who makes it, and checked again at every fire.",
        body=reference("ScheduleSubmission"),
        example=_EXAMPLE,
        answers={201: _SCHEDULE},
    ),
    f"GET {_BASE}": Operation(
        summary="List schedules", tag=TAG, parameters=paged(), answers={200: array(_SCHEDULE)}, is_list=True
    ),
    f"GET {_ONE}": Operation(summary="Read a schedule", tag=TAG, answers={200: _SCHEDULE}),
    f"PUT {_ONE}": Operation(
        summary="Replace a schedule",
        tag=TAG,
        description="All of it, its name too. With another `cron` or `timeZone` it begins anew now.",
        body=reference("ScheduleSubmission"),
        example=_EXAMPLE,
        answers={200: _SCHEDULE},
    ),
    f"DELETE {_ONE}": Operation(
        summary="Remove a schedule", tag=TAG, description="Its tasks go on.", answers={200: MESSAGE}
    ),
    f"GET {_ONE}/fires": Operation(
        summary="List what was decided of its fire times",
        tag=TAG,
        parameters=(_OUTCOME, *paged()),
        answers={200: array(reference("Fire"))},
        is_list=True,
    ),
    f"POST {_ONE}/pause": Operation(summary="Let a schedule fire no more", tag=TAG, answers={200: _SCHEDULE}),
    f"POST {_ONE}/resume": Operation(
        summary="Let a schedule fire again",
        tag=TAG,
        description="From now on: what would have fired meanwhile is not made up for.",
        answers={200: _SCHEDULE},
    ),
    f"POST {_ONE}/run": Operation(
        summary="Start its task now",
        tag=TAG,
        description="Also while it is paused. 409 `schedule_overlap` where its tasks run one at a time and "
        "the last one has not ended; with `replace` that is stopped first.",
        parameters=(tasks.KEY,),
        body=reference("ScheduleOverrides"),
        example={"env": {"DAY": "2026-03-01"}},
        body_optional=True,
        answers={201: _TASK, 200: _TASK},
    ),
}
