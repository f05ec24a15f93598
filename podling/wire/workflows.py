"""Workflows on the wire: tasks as they are posted to `/tasks`, with a key each and parents by key."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from podling.core.errors import InvalidInput
from podling.core.graph import MOST_TASKS
from podling.core.spec import Dependency, TaskSpec
from podling.core.task import Task
from podling.core.value import value
from podling.core.workflow import ArrayWish, KeyDependency, Member, Progress, Step, Workflow, WorkflowHead
from podling.wire.body import refuse_unknown
from podling.wire.codec import decode
from podling.wire.tasks import parse_task, task_view

_FIELDS = frozenset({"name", "tasks", "idempotencyKey"})
OUTPUT_ONLY = frozenset({"workflowId", "status", "createdAt", "counts"})
_OF_A_STEP = ("key", "dependsOn", "array")
STEP_OUTPUT_ONLY = frozenset({"arrayIndex"})


@value
class _StepFields:
    """What a task of a workflow has beside the fields of any task."""

    key: str
    depends_on: tuple[KeyDependency, ...] = ()
    array: ArrayWish | None = None


@value
class _Head:
    name: str
    idempotency_key: str | None = None


@value
class Submission:
    """A workflow as it was asked for."""

    name: str
    idempotency_key: str | None
    steps: tuple[Step, ...]


def parse_workflow(plain: Mapping[str, Any], idempotency_key: str | None = None) -> Submission:
    """Return what is asked for. Raises InvalidInput that names the field.

    A task without a name has its key. Whether the graph can be is decided by `podling.core.workflow`.
    """
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, _FIELDS)
    tasks = given.pop("tasks", None)
    if not isinstance(tasks, list) or not 1 <= len(tasks) <= MOST_TASKS:
        raise InvalidInput.field("tasks", f"must be a list of 1 to {MOST_TASKS} tasks")
    head = decode(_Head, orjson.dumps(given))
    key = head.idempotency_key or idempotency_key
    if key != (idempotency_key or key):
        raise InvalidInput.field("idempotencyKey", "differs from the Idempotency-Key header")
    steps = tuple(_step(f"tasks.{index}", item) for index, item in enumerate(tasks))
    return Submission(name=head.name, idempotency_key=key, steps=steps)


def _step(place: str, item: Any) -> Step:
    if not isinstance(item, dict):
        problem = f"{place}: must be a JSON object, with a key and the fields of a task"
        raise InvalidInput(problem, code="invalid_json", details={"field": place})
    try:
        own = {name: item[name] for name in _OF_A_STEP if item.get(name) is not None}
        fields = decode(_StepFields, orjson.dumps(own))
        return Step(
            key=fields.key, spec=_spec(item, fields.key), depends_on=fields.depends_on, array=fields.array
        )
    except InvalidInput as error:
        raise _within(place, error) from None


def _spec(item: Mapping[str, Any], key: str) -> TaskSpec:
    beside = {*_OF_A_STEP, *STEP_OUTPUT_ONLY}
    given = {name: part for name, part in item.items() if name not in beside}
    return parse_task(given if given.get("name") is not None else given | {"name": key})


def _within(place: str, error: InvalidInput) -> InvalidInput:
    field = f"{place}.{error.details.get('field', '')}".rstrip(".")
    return InvalidInput(f"{place}.{error.message}", code=error.code, details=error.details | {"field": field})


def parent_view(dependency: Dependency, task: Task | None) -> dict[str, Any]:
    """Return what a dependent wants to know of a parent; one that history has forgotten has no status."""
    return {
        "taskId": dependency.task_id,
        "when": dependency.when,
        "name": task and task.spec.name,
        "arrayIndex": task and task.spec.array and task.spec.array.index,
        "status": task and task.status,
        "exitCode": task and task.exit_code,
        "errorCode": task and task.error_code,
        "result": task and task_view(task)["result"],
    }


def workflow_view(workflow: WorkflowHead, progress: Progress) -> dict[str, Any]:
    """Return what a list shows."""
    return {
        "workflowId": workflow.workflow_id,
        "name": workflow.name,
        "status": progress.status,
        "createdAt": workflow.created_at,
        "counts": {status.value: count for status, count in progress.counts.items()},
    }


def whole_view(workflow: Workflow, progress: Progress, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Return the workflow with all its tasks, in the order of the submission."""
    members: Sequence[Member] = workflow.members
    shown = [_member_view(member, tasks.get(member.task_id)) for member in members]
    return workflow_view(workflow, progress) | {"tasks": shown}


def _member_view(member: Member, task: Task | None) -> dict[str, Any]:
    """A task that history has forgotten has no status."""
    return {
        "key": member.key,
        "arrayIndex": member.array_index,
        "taskId": member.task_id,
        "dependsOn": member.depends_on,
        "name": task and task.spec.name,
        "status": task and task.status,
        "attempt": task and task.attempt,
        "nodeId": task and task.node_id,
        "startedAt": task and task.started_at,
        "finishedAt": task and task.finished_at,
        "exitCode": task and task.exit_code,
        "errorCode": task and task.error_code,
        "error": task and task.error,
    }
