"""What attempts say of themselves, in the contract."""

from podling.core.coordination import Checkpoint
from podling.core.coordination_rules import MOST_SECONDS, MOST_VALUE_BYTES
from podling.wire.checkpoints import CHECKPOINT_OUTPUT_ONLY, MOST_RESULT_BYTES
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import (
    ANYTHING,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    array,
    closed,
    components_of,
    nullable,
    reference,
)

TAG = "inside a task"
ABOUT = (
    "What the program inside an attempt says, with the attempt's own credential, which it finds in its "
    "environment beside the address. An attempt that is not the live one is refused (409 "
    "`stale_attempt`). It may also use the keys of coordination that begin with `tasks:`."
)

_PERCENT: Schema = NUMBER | {"minimum": 0, "maximum": 100}
_WISH = closed(
    f"How far it is, and what another attempt needs to go on: at most {MOST_VALUE_BYTES} bytes of JSON.",
    {name: {"description": "Ignored: output only."} for name in sorted(CHECKPOINT_OUTPUT_ONLY)}
    | {
        "progress": nullable(_PERCENT),
        "data": ANYTHING,
        "estimatedSecondsRemaining": nullable(NUMBER | {"minimum": 0, "maximum": 10 * MOST_SECONDS}),
    },
    optional=[*CHECKPOINT_OUTPUT_ONLY, "progress", "data", "estimatedSecondsRemaining"],
)
_IGNORED = {name: {"description": "Ignored: output only."} for name in ("taskId", "attempt")}
_SAID: dict[str, Schema] = {"taskId": STRING, "attempt": INTEGER}
_ONE = "/api/v1/tasks/{id}"

SCHEMAS = components_of(Checkpoint)

OPERATIONS = {
    f"GET {_ONE}/checkpoints": Operation(
        summary="List a task's checkpoints, newest first",
        tag=TAG,
        description="10 at most on a page, whatever `limit` says. With `limit=1`, the one from which another "
        "attempt goes on.",
        parameters=paged(start="newest"),
        answers={200: array(reference("Checkpoint"))},
        is_list=True,
    ),
    f"POST {_ONE}/checkpoints": Operation(
        summary="Save a checkpoint of the attempt that asks",
        tag=TAG,
        description="Its progress becomes the task's. The last hundred of a task are kept, until retention "
        "removes the task.",
        body=_WISH,
        body_optional=True,
        example={"progress": 40, "data": {"row": 4000}},
        answers={201: reference("Checkpoint")},
    ),
    f"DELETE {_ONE}/checkpoints": Operation(
        summary="Remove a task's checkpoints",
        tag=TAG,
        parameters=(
            Parameter(name="keep", description="All but the last so many.", schema=INTEGER | {"minimum": 0}),
        ),
        answers={200: closed("How many there were.", {"removed": INTEGER})},
    ),
    f"PUT {_ONE}/progress": Operation(
        summary="Say how far the attempt is, in percent",
        tag=TAG,
        body=closed("How far.", _IGNORED | {"progress": _PERCENT}, optional=("taskId", "attempt")),
        example={"progress": 40},
        answers={200: closed("It is kept.", _SAID | {"progress": nullable(NUMBER)})},
    ),
    f"PUT {_ONE}/result": Operation(
        summary="Say what came of the task",
        tag=TAG,
        description=f"Any JSON of at most {MOST_RESULT_BYTES} bytes. It is read with the task; the next "
        "attempt, if there is one, begins without.",
        body=closed("What came of it.", _IGNORED | {"result": ANYTHING}, optional=("taskId", "attempt")),
        example={"result": {"rows": 10000}},
        answers={200: closed("It is kept.", _SAID | {"result": ANYTHING})},
    ),
}
