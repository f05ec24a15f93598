"""The whole document: every route that there is, with the description of its operation."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from podling.core.value import value
from podling.wire.openapi import (
    access,
    alerts,
    checkpoints,
    cluster,
    coordination,
    dead_letters,
    decisions,
    events,
    joining,
    nodes,
    queues,
    schedules,
    tasks,
    workflows,
)
from podling.wire.openapi.operation import Operation, Operations, Parameter
from podling.wire.openapi.schema import INTEGER, STRING, Schema, array, closed, mapping, reference

PARTS = (
    *(tasks, workflows, queues, schedules, dead_letters, nodes, events, joining, alerts, coordination),
    checkpoints,
    *(decisions, cluster, access),
)
_ROLE_SENTENCES = {
    None: "Open to everybody.",
    "worker": "For workers (role `worker`).",
    "task": "For the attempt itself (role `task`).",
}

INTRODUCTION = """\
Fields are camelCase; times are RFC 3339 in UTC with six decimals and `Z`; a field that ends in
`Seconds` is a duration; CPU is in millicores and memory in bytes, and both are also taken as
quantities such as `500m` and `256Mi`. `null` for an optional field means absent, an unknown field is
refused by its name, and output-only fields are ignored on POST, so that what was read can be posted
again. A list is a bare array, newest first; with more to come it carries `Link: <…>; rel="next"` and
`X-Next-Cursor`. Every error is `{"error": sentence, "code": word, "details": {…}}`; 429 and 503 carry
`Retry-After` and may be tried again. A master that knows no token listens on loopback only, and lets
everybody there do everything.
"""


@value
class Exposed:
    """A route as it is registered; `role` None is open to everybody."""

    method: str
    path: str
    role: str | None

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"


def described() -> Operations:
    """Return all descriptions, by method and path."""
    return {key: operation for part in PARTS for key, operation in part.OPERATIONS.items()}


def document(routes: Iterable[Exposed], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the routes. Raises KeyError for one that nobody described."""
    operations = described()
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(routes, key=lambda route: (route.path, route.method)):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operations[route.key])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Podling", "version": version, "description": INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": part.TAG, "description": part.ABOUT} for part in PARTS],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {"Refusal": _refusal(), "Busy": _busy()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def schemas() -> dict[str, Schema]:
    """Return what the document calls by name."""
    found: dict[str, Schema] = {"Error": _error()}
    for part in PARTS:
        found |= part.SCHEMAS
    return dict(sorted(found.items()))


def _error() -> Schema:
    properties = {"error": STRING, "code": STRING, "details": mapping({})}
    return closed("What went wrong: a sentence for a person, a word for a program.", properties)


def _refusal() -> dict[str, Any]:
    content = {"application/json": {"schema": reference("Error")}}
    return {"description": "Refused; `code` says why, `error` what to do.", "content": content}


def _busy() -> dict[str, Any]:
    header = {"description": "Seconds after which to try again.", "schema": INTEGER}
    return {**_refusal(), "description": "Not now; try again.", "headers": {"Retry-After": header}}


def _operation(route: Exposed, operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": operation.summary,
        "description": f"{operation.description}\n\n{_who(route.role)}".strip(),
        "tags": [operation.tag],
        "responses": _responses(route, operation),
        "security": [] if route.role is None else [{"bearer": []}, {"key": []}],
        "x-podling-role": route.role,
    }
    if parameters := [*_path_parameters(route.path), *map(_parameter, operation.parameters)]:
        made["parameters"] = parameters
    if operation.body is not None:
        made["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": _with_example(operation.body, operation.example)},
        }
    if operation.is_websocket:
        made["x-podling-websocket"] = True
    if operation.is_endless:
        made["x-podling-endless"] = True
    return made


def _with_example(schema: Mapping[str, Any], example: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def _who(role: str | None) -> str:
    return _ROLE_SENTENCES.get(role, f"Needs the role `{role}`, or one that includes it.")


def operation_id(route: Exposed) -> str:
    """Return a name for the operation that no other has, such as `postTasksIdCancel`."""
    words = re.findall(r"[A-Za-z0-9]+", route.path.removeprefix("/api/v1"))
    words = words if route.path.startswith("/api/v1") else ["root", *words]
    return route.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": STRING}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = array(dict(parameter.schema)) if parameter.repeated else dict(parameter.schema)
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": schema,
    }


def _responses(route: Exposed, operation: Operation) -> dict[str, Any]:
    answers = {str(status): _answer(operation, schema) for status, schema in operation.answers.items()}
    for status in operation.answers:
        if links := _links(route, operation.answers[status]):
            answers[str(status)]["links"] = links
    refusals = {str(status): {"$ref": "#/components/responses/Refusal"} for status in _refused(route)}
    busy = {str(status): {"$ref": "#/components/responses/Busy"} for status in (429, 503)}
    return refusals | busy | answers


_LINKED = {"Task": ("taskId", "/api/v1/tasks/{id}"), "Node": ("nodeId", "/api/v1/nodes/{id}")}
"""By the schema that is answered: the field with the id, and where to go on with it."""


def _links(route: Exposed, schema: Schema | None) -> dict[str, Any]:
    """Return where a client may go on with what a change has answered."""
    name = str((schema or {}).get("$ref", "")).rpartition("/")[2]
    if route.method == "GET" or name not in _LINKED:
        return {}
    field, path = _LINKED[name]
    below = {path, *_below(path)}
    keys = [key.split() for key in described()]
    found = [Exposed(method=method, path=other, role=None) for method, other in keys if other in below]
    return {
        operation_id(target): {
            "operationId": operation_id(target),
            "parameters": {"id": f"$response.body#/{field}"},
        }
        for target in found
    }


def _below(path: str) -> list[str]:
    paths = [key.partition(" ")[2] for key, made in described().items() if not made.is_websocket]
    return [other for other in paths if other.startswith(f"{path}/")]


def _refused(route: Exposed) -> list[int]:
    """Return the statuses with which any operation of its kind may be refused."""
    statuses = [400, 401, 403, 404, 408]
    return statuses if route.method == "GET" else [*statuses, 409, 413, 415]


def _answer(operation: Operation, schema: Schema | None) -> dict[str, Any]:
    if schema is None:
        content: Mapping[str, Any] = {operation.media_type: {"schema": STRING}}
        return {"description": "As it says.", "content": content}
    answer: dict[str, Any] = {
        "description": "As it says.",
        "content": {operation.media_type: {"schema": schema}},
    }
    if operation.is_list:
        answer["headers"] = {
            "Link": {"description": "The next page, if there is one.", "schema": STRING},
            "X-Next-Cursor": {"description": "`cursor` of the next page.", "schema": STRING},
        }
    return answer
