"""Dead letters, in the contract."""

from podling.core.dead_letters import DeadLetterReason
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    nullable,
    reference,
)

TAG = "dead letters"
ABOUT = "Tasks that failed for good, until somebody replays or dismisses them."

_REASON: Schema = {"enum": list(DeadLetterReason)}
_FILTERS: dict[str, Schema] = {
    "queue": STRING,
    "reason": _REASON,
    "errorCode": STRING,
    "limit": INTEGER | {"minimum": 1, "maximum": 500},
    "cursor": STRING,
}
_MORE_TO_REPLAY: dict[str, Schema] = {"toQueue": STRING, "runAt": TIME}
_LEFT: dict[str, Schema] = {"more": BOOLEAN, "nextCursor": nullable(STRING)}

SCHEMAS = {
    "DeadLetterFilter": closed("Which letters are meant; without a filter, all.", _FILTERS, _FILTERS),
    "DeadLetterReplay": closed(
        "Which letters are meant, and what shall differ in their replays.",
        _FILTERS | _MORE_TO_REPLAY,
        [*_FILTERS, *_MORE_TO_REPLAY],
    ),
    "ReplayedLetter": closed("A letter and what was made of it.", {"taskId": STRING, "replayTaskId": STRING}),
    "RefusedReplay": closed(
        "A letter that could not be replayed and stays on the list.",
        {"taskId": STRING, "error": STRING, "code": STRING, "details": ANYTHING},
    ),
    "DeadLettersReplayed": closed(
        "What was done; with `more`, send the same again with `nextCursor` as its `cursor`.",
        {"replayed": array(reference("ReplayedLetter")), "refused": array(reference("RefusedReplay"))}
        | _LEFT,
    ),
    "DeadLettersDismissed": closed(
        "How many were taken off; with `more`, send the same again with `nextCursor` as its `cursor`.",
        {"dismissed": INTEGER} | _LEFT,
    ),
}

_LISTED = (
    Parameter(name="queue", description="Only those of this queue."),
    Parameter(name="reason", description="Only those of this reason.", schema=_REASON),
    Parameter(name="errorCode", description="Only those whose last attempt ended with this code."),
    *paged(),
)
_ONCE = "A letter leaves the list with it: the same order again finds what is left, and doubles nothing."
OPERATIONS = {
    "GET /api/v1/dlq": Operation(
        summary="List dead letters",
        tag=TAG,
        description="Tasks that failed for good and were not dismissed or replayed, the last failed first.",
        parameters=_LISTED,
        answers={200: array(reference("Task"))},
        is_list=True,
    ),
    "POST /api/v1/dlq/replay": Operation(
        summary="Replay dead letters",
        tag=TAG,
        description=f"Each as a new task with `replayOf`, up to `limit` of them. {_ONCE}",
        body=reference("DeadLetterReplay"),
        body_optional=True,
        example={"queue": "default", "errorCode": "TIMEOUT"},
        answers={200: reference("DeadLettersReplayed")},
    ),
    "POST /api/v1/dlq/dismiss": Operation(
        summary="Dismiss dead letters",
        tag=TAG,
        description=f"Up to `limit` are taken off the list; tasks and history stay. {_ONCE}",
        body=reference("DeadLetterFilter"),
        body_optional=True,
        example={"queue": "default", "errorCode": "TIMEOUT"},
        answers={200: reference("DeadLettersDismissed")},
    ),
    "POST /api/v1/tasks/{id}/dismiss": Operation(
        summary="Take a task off the dead-letter list",
        tag=TAG,
        description="The task and its history stay. One that is not on the list any more is left as it is.",
        answers={200: reference("Task")},
    ),
}
