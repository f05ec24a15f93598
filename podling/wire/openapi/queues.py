"""Queues, in the contract."""

from podling.core.queue import (
    ALL_QUEUES,
    MOST_BYTES,
    MOST_PER_MINUTE,
    MOST_TASKS,
    MOST_WEIGHT,
)
from podling.wire.openapi.nodes import MESSAGE
from podling.wire.openapi.operation import Operation, paged
from podling.wire.openapi.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    array,
    closed,
    nullable,
    reference,
)
from podling.wire.queues import OUTPUT_ONLY

TAG = "queues"
ABOUT = "Lines of tasks, and how much of each may run."

_QUEUE = reference("Queue")


def _whole(most: int, description: str) -> Schema:
    return INTEGER | {"minimum": 1, "maximum": most, "description": description}


def _seconds(description: str) -> Schema:
    return NUMBER | {"exclusiveMinimum": 0, "description": description}


LIMITS = {
    "maxInFlight": _whole(MOST_TASKS, "Attempts that are on a node at a time."),
    "maxPerMinute": _whole(MOST_PER_MINUTE, "Starts of attempts within any 60 seconds."),
    "maxPerKey": _whole(MOST_TASKS, "Attempts of one `concurrencyKey` at a time; 1 without it."),
    "throttleDelaySeconds": _seconds("How long the queue rests when it was at a limit; an hour at most."),
    "weight": _whole(MOST_WEIGHT, "Its share of starts, where any queue has one; 1 without it."),
    "ageingSeconds": _seconds("So long a wait counts as one more of priority."),
    "maxPayloadBytes": _whole(
        MOST_BYTES, "A payload with more bytes of JSON is refused; without a payload all of the task counts."
    ),
    "maxSubmitsPerMinute": _whole(MOST_PER_MINUTE, "More submits are refused until the next minute."),
}


def _read() -> Schema:
    off = {name: nullable(schema) for name, schema in LIMITS.items()}
    return closed(
        "A queue. Null is no limit.",
        {"name": STRING}
        | off
        | {"paused": BOOLEAN, "running": INTEGER | {"description": "Tasks that are on a node."}},
    )


def _sent() -> Schema:
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    paused = BOOLEAN | {"description": "Left out, or null, it stays as it is."}
    properties = ignored | {"name": STRING, "paused": paused} | LIMITS
    return closed("A limit that is left out, or null, is off.", properties, optional=list(properties))


SCHEMAS = {"Queue": _read(), "QueuePolicy": _sent()}

_BASE = "/api/v1/queues"
_ONE = f"{_BASE}/{{id}}"
_ABOUT_ALL = f"`{ALL_QUEUES}` stands for all queues together."
OPERATIONS = {
    f"GET {_BASE}": Operation(
        summary="List queues",
        tag=TAG,
        description="Those that were used or declared, by name.",
        parameters=paged(start="first"),
        answers={200: array(_QUEUE)},
        is_list=True,
    ),
    f"GET {_ONE}": Operation(summary="Read a queue", tag=TAG, answers={200: _QUEUE}),
    f"PUT {_ONE}": Operation(
        summary="Declare a queue, or say anew how much of it may run",
        tag=TAG,
        description=f"It holds at once, at every master; what runs goes on. {_ABOUT_ALL}",
        body=reference("QueuePolicy"),
        example={"maxInFlight": 10, "maxPerMinute": 600},
        answers={200: _QUEUE, 201: _QUEUE},
    ),
    f"DELETE {_ONE}": Operation(
        summary="Remove a queue",
        tag=TAG,
        description="With its limits. Refused while a task of it has not ended, or a schedule names it.",
        answers={200: MESSAGE},
    ),
    f"POST {_ONE}/pause": Operation(
        summary="Start nothing of a queue any more",
        tag=TAG,
        description=f"What runs goes on; submits are taken. {_ABOUT_ALL}",
        answers={200: _QUEUE},
    ),
    f"POST {_ONE}/resume": Operation(summary="Let a paused queue go on", tag=TAG, answers={200: _QUEUE}),
}
