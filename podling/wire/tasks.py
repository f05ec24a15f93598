"""Tasks on the wire: one container, its fields beside the task's own."""

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import orjson

from podling.core.errors import InvalidInput
from podling.core.functions import MAX_ATTEMPTS
from podling.core.quantity import parse_resource
from podling.core.spec import ContainerSpec, Runtime, TaskKind, TaskSpec
from podling.core.statements import MOST_PARAMETERS
from podling.core.task import NEVER, Attempt, Task
from podling.core.value import beyond_defaults, camel_case, changed, sharing_defaults
from podling.wire.alerts import parse_wishes
from podling.wire.body import load_object as load_object
from podling.wire.body import refuse_unknown
from podling.wire.codec import decode, encode, outside, rfc3339, to_plain
from podling.wire.options import parse_options

_CONTAINER_FIELDS = frozenset(camel_case(field.name) for field in fields(ContainerSpec)) - {"name"}
_SPEC_FIELDS = frozenset(camel_case(field.name) for field in fields(TaskSpec)) - {
    "containers",
    "kind",
    "replayOf",
}
OUTPUT_ONLY = frozenset(
    "taskId status nodeId containerId createdAt startedAt finishedAt error healthStatus attempt exitCode"
    " errorCode deadLetterReason schedulingError replayOf progress result restartCount held".split()
)
_NOT_YET = frozenset("secrets livenessProbe readinessProbe".split())
_FREE_FORM = frozenset({"payload", "parameters", "env", "labels", "nodeSelector", "tmpfs", "extraHosts"})


def parse_task(plain: Mapping[str, Any], idempotency_key: str | None = None) -> TaskSpec:
    """Return the specification of a submitted task, with defaults. Raises InvalidInput by field.

    What the fields may hold is decided by `podling.core.policy`, not here.
    """
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    _refuse_unknown(given)
    if isinstance(given.get("array"), dict) and "index" not in given["array"]:
        raise InvalidInput.field(
            "array", "many tasks are a workflow: POST /api/v1/workflows takes their count"
        )
    container = {key: _stripped(key, item) for key, item in given.items() if key in _CONTAINER_FIELDS}
    spec = {key: _stripped(key, item) for key, item in given.items() if key in _SPEC_FIELDS}
    if "resources" in container:
        container["resources"] = parse_resources(container["resources"])
    parse_options(container)
    if "payload" in spec:
        spec["payload"] = _json(given["payload"])
    if "parameters" in spec:
        spec["parameters"] = _parameters(given["parameters"])
    if spec.get("runtime") == Runtime.PYTHON:
        spec.setdefault("maxAttempts", MAX_ATTEMPTS)
    if "alerts" in spec:
        spec["alerts"] = parse_wishes(spec["alerts"])
    if spec.setdefault("idempotencyKey", idempotency_key) != (idempotency_key or spec["idempotencyKey"]):
        raise InvalidInput.field("idempotencyKey", "differs from the Idempotency-Key header")
    spec["containers"] = [container]
    spec["kind"] = TaskKind.TASK
    try:
        return _decoded(spec)
    except InvalidInput as error:
        raise _without_prefix(error) from None


def _decoded(spec: dict[str, Any]) -> TaskSpec:
    """Read it once for all tasks that differ in payload and key alone, as most that come together do."""
    own = {field: spec.pop(name) for name, field in _OWN.items() if isinstance(spec.get(name), str)}
    rest = orjson.dumps(spec)
    read = _read_once if len(rest) <= _MOST_REMEMBERED_BYTES else _read
    return changed(read(rest), **own) if own else read(rest)


_OWN = {"payload": "payload", "idempotencyKey": "idempotency_key"}
_MOST_REMEMBERED_BYTES = 4096


def _read(plain: bytes) -> TaskSpec:
    spec = sharing_defaults(decode(TaskSpec, plain))
    return changed(spec, containers=tuple(map(sharing_defaults, spec.containers)))


_read_once = lru_cache(256)(_read)


def brought_by(spec: TaskSpec) -> tuple[str, int]:
    """Return what a task brings and its bytes as JSON: a function's payload, else all that it was told."""
    if spec.payload is not None:
        return "payload", len(spec.payload.encode())
    return "task", len(encode(beyond_defaults(spec)))


def _parameters(plain: Any) -> str:
    if not isinstance(plain, list):
        raise InvalidInput.field("parameters", "must be a list: what stands for $1, $2 and so on")
    if len(plain) > MOST_PARAMETERS:
        raise InvalidInput.field("parameters", f"must have at most {MOST_PARAMETERS} entries")
    return _json(plain)


def _json(plain: Any) -> str:
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


def parse_resources(plain: Any) -> Any:
    """Turn quantities into numbers; what isn't an object of objects is left for the validator."""
    if not isinstance(plain, dict):
        return plain
    return {section: _amounts(section, amounts) for section, amounts in plain.items()}


def _amounts(section: str, amounts: Any) -> Any:
    if not isinstance(amounts, dict):
        return amounts
    return {name: _amount(f"resources.{section}.{name}", name, item) for name, item in amounts.items()}


def _amount(path: str, name: str, item: Any) -> int:
    if isinstance(item, bool) or not isinstance(item, int | float | str):
        raise InvalidInput.field(path, "must be a quantity such as 500m or 256Mi, or a number")
    try:
        return parse_resource(name, item)
    except (ValueError, OverflowError) as error:
        raise InvalidInput.field(path, str(error)) from None


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for key in given:
        if key in _NOT_YET:
            raise InvalidInput(
                f"{key}: this version does not have it yet",
                code="unsupported_field",
                details={"field": key},
            )
    refuse_unknown(given, _CONTAINER_FIELDS | _SPEC_FIELDS)


def _stripped(key: str, item: Any) -> Any:
    """Leave out nulls inside a field's object, where each means absent."""
    if key in _FREE_FORM:
        return item
    if isinstance(item, dict):
        return {name: _stripped(name, inner) for name, inner in item.items() if inner is not None}
    if isinstance(item, list):
        return [_stripped("", inner) for inner in item]
    return item


def _without_prefix(error: InvalidInput) -> InvalidInput:
    """Name the container's fields as they were sent: `image`, not `containers.0.image`."""
    prefix = "containers.0."
    field = str(error.details.get("field", "")).removeprefix(prefix)
    return InvalidInput(error.message.removeprefix(prefix), code=error.code, details={"field": field})


def task_view(task: Task, scheduling_error: str | None = None) -> dict[str, Any]:
    """Return what is read of a task: the reference's fields, then what was submitted.

    Its parts are values of the core, for `encode` to write.
    """
    spec, container = outside(task.spec), outside(task.spec.containers[0])
    del spec["containers"], spec["kind"], container["name"]
    return {
        "taskId": task.task_id,
        **spec,
        **container,
        "payload": _plain(task.spec.payload),
        "parameters": _plain(task.spec.parameters),
        "runAt": None if task.run_at == NEVER else task.run_at,
        "status": task.status,
        "nodeId": task.node_id,
        "containerId": task.container_id,
        "createdAt": task.created_at,
        "startedAt": task.started_at,
        "finishedAt": task.finished_at,
        "error": task.error,
        "livenessProbe": None,
        "readinessProbe": None,
        "healthStatus": task.health_status,
        "attempt": task.attempt,
        "exitCode": task.exit_code,
        "errorCode": task.error_code,
        "deadLetterReason": task.dead_letter_reason,
        "schedulingError": scheduling_error,
        "held": task.held,
        "progress": task.progress,
        "result": None if task.result is None else orjson.loads(task.result),
        "restartCount": task.restart_count,
    }


def _plain(json: str | None) -> Any:
    return None if json is None else orjson.loads(json)


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "nodeId": attempt.node_id,
        "containerId": attempt.container_id,
        "status": attempt.status.value,
        "scheduledAt": rfc3339(attempt.scheduled_at),
        "startedAt": to_plain(attempt.started_at),
        "finishedAt": to_plain(attempt.finished_at),
        "exitCode": attempt.exit_code,
        "errorCode": attempt.error_code,
        "error": attempt.error,
        "retryAt": to_plain(attempt.retry_at),
        "imageDigest": attempt.image_digest,
        "containers": to_plain(attempt.containers),
    }
