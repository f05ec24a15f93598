"""Workflows, in the contract."""

from podling.core.graph import MOST_TASKS
from podling.core.task import TaskStatus
from podling.core.workflow import ArrayWish, KeyDependency, WorkflowStatus
from podling.wire.openapi import tasks
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import (
    ANYTHING,
    INTEGER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    components_of,
    mapping,
    nullable,
    reference,
)
from podling.wire.workflows import OUTPUT_ONLY, STEP_OUTPUT_ONLY

TAG = "workflows"
ABOUT = "Graphs of tasks, submitted as one: all of a graph, or nothing."

_STATUS: Schema = {"enum": list(map(str, WorkflowStatus))}
_KEY = STRING | {"minLength": 1, "maxLength": 128}


def _step() -> Schema:
    """A submission with a key, whose parents are keys; its name is the key unless it has one."""
    submission = tasks.SCHEMAS["TaskSubmission"]
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(STEP_OUTPUT_ONLY)}
    properties = (
        submission["properties"]
        | ignored
        | {
            "name": nullable(STRING),
            "key": _KEY,
            "dependsOn": nullable(array(reference("KeyDependency"))),
            "array": nullable(reference("ArrayWish")),
        }
    )
    about = "One task, or with `array` many that differ in `PODLING_ARRAY_INDEX`."
    return submission | {"description": about, "properties": properties, "required": ["key"]}


def _submission() -> Schema:
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    steps = array(reference("WorkflowStep")) | {"minItems": 1, "maxItems": MOST_TASKS}
    properties = ignored | {"name": STRING, "idempotencyKey": STRING, "tasks": steps}
    optional = [name for name in properties if name not in ("name", "tasks")]
    return closed("A graph, by keys.", properties, optional=optional)


def _member() -> Schema:
    return closed(
        "A task of a workflow; without a status if history has forgotten it.",
        {
            "key": STRING,
            "arrayIndex": nullable(INTEGER),
            "taskId": STRING,
            "dependsOn": array(reference("WorkflowDependency")),
            "name": nullable(STRING),
            "status": nullable({"enum": list(map(str, TaskStatus))}),
            "attempt": nullable(INTEGER),
            "nodeId": nullable(STRING),
            "startedAt": nullable(TIME),
            "finishedAt": nullable(TIME),
            "exitCode": nullable(INTEGER),
            "errorCode": nullable(STRING),
            "error": nullable(STRING),
        },
    )


_OVERVIEW: dict[str, Schema] = {
    "workflowId": STRING,
    "name": STRING,
    "status": _STATUS,
    "createdAt": TIME,
    "counts": mapping(INTEGER),
}


def _parent() -> Schema:
    return closed(
        "A task that another one depends on; without a status if history has forgotten it.",
        {
            "taskId": STRING,
            "when": reference("When"),
            "name": nullable(STRING),
            "arrayIndex": nullable(INTEGER),
            "status": nullable({"enum": list(map(str, TaskStatus))}),
            "exitCode": nullable(INTEGER),
            "errorCode": nullable(STRING),
            "result": ANYTHING,
        },
    )


SCHEMAS = components_of(KeyDependency, ArrayWish, sent=True)
del SCHEMAS["When"]
SCHEMAS |= {
    "Parent": _parent(),
    "WorkflowStep": _step(),
    "WorkflowSubmission": _submission(),
    "WorkflowDependency": closed("A parent, by its key.", {"key": STRING, "when": reference("When")}),
    "WorkflowMember": _member(),
    "WorkflowOverview": closed("A workflow, and how many of its tasks are in each state.", _OVERVIEW),
    "Workflow": closed(
        "A workflow with its tasks, in the order of the submission.",
        _OVERVIEW | {"tasks": array(reference("WorkflowMember"))},
    ),
}

_WHOLE = reference("Workflow")
_IDEMPOTENCY = Parameter(
    name="Idempotency-Key",
    place="header",
    description="The same key gives the same workflow, however often it is sent; with another body: 409.",
)
_EXAMPLE = {
    "name": "nightly",
    "tasks": [
        {"key": "extract", "image": "busybox", "args": ["echo", "extract"]},
        {"key": "load", "image": "busybox", "dependsOn": [{"key": "extract"}], "array": {"count": 3}},
        {"key": "report", "image": "busybox", "dependsOn": [{"key": "load", "when": "always"}]},
    ],
}
_BASE = "/api/v1/workflows"
_ONE = f"{_BASE}/{{id}}"
OPERATIONS = {
    "GET /api/v1/tasks/{id}/parents": Operation(
        summary="List what a task depends on, and what came of that",
        tag=tasks.TAG,
        description="In the order of its `dependsOn`, 100 at most on a page. A running task reads those of "
        "its own.",
        parameters=paged(100, "first"),
        answers={200: array(reference("Parent"))},
        is_list=True,
    ),
    f"POST {_BASE}": Operation(
        summary="Submit a workflow",
        tag=TAG,
        description="All of its tasks are made by one commit, or none. A cycle is refused and shown.",
        parameters=(_IDEMPOTENCY,),
        body=reference("WorkflowSubmission"),
        example=_EXAMPLE,
        answers={201: _WHOLE, 200: _WHOLE},
    ),
    f"GET {_BASE}": Operation(
        summary="List workflows",
        tag=TAG,
        description="100 at most on a page, whatever `limit` says.",
        parameters=paged(),
        answers={200: array(reference("WorkflowOverview"))},
        is_list=True,
    ),
    f"GET {_ONE}": Operation(summary="Read a workflow with its tasks", tag=TAG, answers={200: _WHOLE}),
    f"POST {_ONE}/cancel": Operation(
        summary="Cancel all tasks of a workflow that have not ended", tag=TAG, answers={200: _WHOLE}
    ),
}
