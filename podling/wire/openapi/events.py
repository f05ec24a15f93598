"""Events, in the contract."""

from podling.core.happened import TYPES
from podling.wire.openapi.operation import LABEL, Operation, Parameter
from podling.wire.openapi.schema import INTEGER, NUMBER, STRING, TIME, Schema, closed, reference

TAG = "events"
ABOUT = "What happens to tasks and nodes, as it happens."

_OPTIONAL: dict[str, Schema] = {
    **dict.fromkeys(("taskId", "name", "queue", "status", "before"), STRING),
    "attempt": INTEGER,
    "progress": NUMBER,
    **dict.fromkeys(("nodeId", "reason"), STRING),
}
SCHEMAS = {
    "Event": closed(
        "What stands in the `data` of an event: of a task, of a node, or that some are missing (`reset`).",
        {"id": STRING, "at": TIME, "type": STRING} | _OPTIONAL,
        optional=_OPTIONAL,
    )
}
_EACH = {"contentMediaType": "application/json", "contentSchema": reference("Event")}  # of `data`
OPERATIONS = {
    "GET /api/v1/events": Operation(
        summary="Follow what happens",
        tag=TAG,
        description=(
            "Server-sent events without an end. The id of the last one, sent back to any master as"
            " `Last-Event-ID`, brings exactly what came after it; an event named `reset` says that this"
            f" is not possible any more. Types: {', '.join(TYPES)}."
        ),
        parameters=(
            Parameter(name="type", description="Only events of these types, with commas."),
            Parameter(name="taskId", description="Only of this task."),
            Parameter(name="node", description="Only of this node, and of what is on it."),
            Parameter(name="queue", description="Only of tasks of this queue."),
            LABEL,
            Parameter(name="since", description="Begin there, as far as it is kept.", schema=TIME),
            Parameter(
                name="Last-Event-ID", description="Go on after the event with this id.", place="header"
            ),
        ),
        answers={200: STRING | _EACH},
        media_type="text/event-stream",
        is_endless=True,
    ),
}
