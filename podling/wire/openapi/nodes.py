"""Nodes, in the contract."""

from podling.core.facts import WorkerFacts
from podling.core.logrecord import MOST_TAILS
from podling.core.node import Node, NodeStatus
from podling.core.task import Resolution
from podling.wire.nodes import OUTPUT_ONLY
from podling.wire.openapi.operation import LABEL, Operation, Parameter, paged
from podling.wire.openapi.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    array,
    closed,
    components_of,
    mapping,
    properties_of,
    reference,
)

TAG = "nodes"
ABOUT = "The machines, and the agent on each that runs what is placed there."

_NODE = reference("Node")
_QUANTITY: Schema = {"anyOf": [STRING, NUMBER]}
_AMOUNTS = mapping(INTEGER)


def _node() -> Schema:
    properties = properties_of(Node)
    for name in ("allocatable", "instance"):
        del properties[name]
    resources = closed(
        "CPU in millicores, memory in bytes, others counted.",
        dict.fromkeys(("capacity", "allocatable", "used"), _AMOUNTS),
    )
    more = {"capacity": INTEGER, "runningTasks": INTEGER, "resources": resources}
    return closed("A node; `capacity` counts task slots.", properties | more)


def _registration() -> Schema:
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    properties = ignored | {
        "hostname": STRING,
        "port": INTEGER,
        "capacity": INTEGER,
        "cpu": _QUANTITY,
        "memory": _QUANTITY,
        "labels": mapping(STRING),
    }
    optional = [name for name in properties if name not in ("hostname", "port")]
    return closed("A node with `capacity` in task slots, or with `cpu` and `memory`.", properties, optional)


def _tails() -> Schema:
    item = {
        "taskId": STRING,
        "attempt": INTEGER,
        "frames": {"type": "string", "contentEncoding": "base64"},
        "droppedBytes": INTEGER,
        "final": BOOLEAN,
    }
    tails = array({"type": "object", "properties": item, "required": ["taskId", "attempt", "frames"]})
    tails |= {"maxItems": MOST_TAILS}
    return {"type": "object", "properties": {"tails": tails}, "required": ["tails"]}


MESSAGE = closed("It was done.", {"message": STRING})
SCHEMAS = (
    components_of(Node)
    | components_of(WorkerFacts, sent=True)
    | {"Node": _node(), "NodeRegistration": _registration()}
)

_DRAIN = closed(
    "What still runs after `deadlineSeconds` is stopped; without it, it is waited for.",
    {"deadlineSeconds": NUMBER | {"minimum": 0}},
    optional=("deadlineSeconds",),
)
_REMOVAL = (
    Parameter(name="lost", description="The machine is gone for good: do not wait for it.", schema=BOOLEAN),
    Parameter(
        name="held", description="With `lost`: what becomes of held tasks.", schema={"enum": list(Resolution)}
    ),
)

_BASE = "/api/v1/nodes"
_ONE = f"{_BASE}/{{id}}"
OPERATIONS = {
    f"GET {_BASE}": Operation(
        summary="List nodes",
        tag=TAG,
        parameters=(
            Parameter(
                name="status",
                description="Only those that are so.",
                schema={"enum": [str(status) for status in NodeStatus]},
            ),
            LABEL,
            *paged(),
        ),
        answers={200: array(_NODE)},
        is_list=True,
    ),
    f"GET {_ONE}": Operation(summary="Read a node", tag=TAG, answers={200: _NODE}),
    f"POST {_BASE}/register": Operation(
        summary="Register a node by REST",
        tag=TAG,
        description="Such a node is listed, and nothing is placed on it: workers open a session.",
        body=reference("NodeRegistration"),
        example={"hostname": "small", "port": 8071, "cpu": "2", "memory": "4Gi"},
        answers={201: _NODE},
    ),
    f"POST {_ONE}/heartbeat": Operation(
        summary="Say that a node that registered by REST is alive", tag=TAG, answers={200: _NODE}
    ),
    f"POST {_ONE}/deregister": Operation(
        summary="Take a node off the list", tag=TAG, parameters=_REMOVAL, answers={200: MESSAGE}
    ),
    f"DELETE {_ONE}": Operation(
        summary="Take a node off the list", tag=TAG, parameters=_REMOVAL, answers={200: MESSAGE}
    ),
    f"POST {_ONE}/cordon": Operation(summary="Place nothing more on a node", tag=TAG, answers={200: _NODE}),
    f"POST {_ONE}/uncordon": Operation(summary="Place tasks on a node again", tag=TAG, answers={200: _NODE}),
    f"POST {_ONE}/drain": Operation(
        summary="Empty a node",
        tag=TAG,
        description="202 while tasks still run there.",
        body=_DRAIN,
        example={"deadlineSeconds": 600},
        body_optional=True,
        answers={200: _NODE, 202: _NODE},
    ),
    f"POST {_ONE}/tails": Operation(
        summary="Keep the newest output of a node's attempts", tag=TAG, body=_tails(), answers={200: MESSAGE}
    ),
    f"POST {_ONE}/facts": Operation(
        summary="Tell of a worker's clock, disks and engines",
        tag=TAG,
        body=reference("WorkerFacts"),
        answers={200: MESSAGE},
    ),
    f"GET {_ONE}/session": Operation(
        summary="Open a worker's session",
        tag=TAG,
        description="A WebSocket; what is said on it is in docs/api.md.",
        answers={101: None},
        is_websocket=True,
    ),
    "GET /api/v1/streams/{secret}": Operation(
        summary="Deliver a stream that a master asked for",
        tag=TAG,
        description="A WebSocket that a worker opens.",
        answers={101: None},
        is_websocket=True,
    ),
}
