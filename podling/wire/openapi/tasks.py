"""Tasks, in the contract."""

from podling.core.alert_policy import MOST_WISHES
from podling.core.explain import Explanation
from podling.core.spec import ContainerSpec, TaskSpec
from podling.core.statements import MOST_PARAMETERS
from podling.core.task import Attempt, HealthStatus, Resolution, Task, TaskStatus
from podling.core.timeline import TimelineLine
from podling.wire.openapi.operation import LABEL, Operation, Parameter, paged
from podling.wire.openapi.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    components_of,
    mapping,
    nullable,
    properties_of,
    reference,
)
from podling.wire.tasks import OUTPUT_ONLY

TAG = "tasks"
ABOUT = "Units of work: submitted, placed, run, and told about."

_TASK = reference("Task")
_QUANTITY: Schema = {"anyOf": [STRING, NUMBER]}
_STATE = properties_of(
    Task,
    *"task_id status node_id created_at started_at finished_at error health_status attempt".split(),
    *"exit_code error_code dead_letter_reason held progress".split(),
)
_READ_BESIDE: dict[str, Schema] = {
    "runAt": nullable(TIME),
    "containerId": nullable(STRING),
    "livenessProbe": ANYTHING,
    "readinessProbe": ANYTHING,
    "schedulingError": nullable(STRING),
    "result": ANYTHING | {"description": "What its last attempt has said."},
    "restartCount": INTEGER,
}


def _spec(sent: bool) -> dict[str, Schema]:
    """Return the fields of a task and of its one container, side by side."""
    container = properties_of(ContainerSpec, sent=sent)
    fields = properties_of(TaskSpec, sent=sent) | container | {"name": STRING, "payload": ANYTHING}
    fields["parameters"] = nullable(array(ANYTHING) | {"maxItems": MOST_PARAMETERS})
    return {name: schema for name, schema in fields.items() if name not in ("containers", "kind")}


def _submission() -> Schema:
    fields = {name: schema for name, schema in _spec(sent=True).items() if name != "replayOf"}
    fields["resources"] = closed(
        "Amounts by name; `cpu` and `memory` also as quantities.",
        {name: mapping(_QUANTITY) for name in ("requests", "limits")},
        optional=("requests", "limits"),
    )
    fields["shmSize"] = nullable(_QUANTITY)
    fields["logging"] = nullable(reference("LoggingSubmission"))
    fields["ulimits"] = nullable(mapping({"anyOf": [INTEGER, reference("Ulimit")]}))
    short = STRING | {"description": "A rule's name, `mailto:ADDRESS` or `https://…`."}
    fields["alerts"] = array({"anyOf": [short, reference("AlertWish")]}) | {"maxItems": MOST_WISHES}
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    properties = ignored | fields
    return closed("What is to be run.", properties, optional=[name for name in properties if name != "name"])


def _task() -> Schema:
    return closed("A task, as it is now, and what was submitted.", _spec(sent=False) | _STATE | _READ_BESIDE)


def _attempt() -> Schema:
    properties = properties_of(Attempt)
    del properties["taskId"]
    more = {"containerId": nullable(STRING), "imageDigest": nullable(STRING)}
    return closed("One try at a task on one node.", properties | more)


def _batch_item() -> Schema:
    accepted = closed("Accepted.", {"taskId": STRING})
    return {"anyOf": [accepted, reference("Error")]}


def _status_report() -> Schema:
    status: Schema = {"enum": ["running", "completed", "failed", "cancelled"]}
    properties = {
        "status": status,
        "containerId": STRING,
        "error": STRING,
        "healthStatus": {"enum": [str(health) for health in HealthStatus]},
        "attempt": INTEGER | {"minimum": 0, "maximum": 2**31},
        "exitCode": INTEGER | {"minimum": 0, "maximum": 255},
        "errorCode": STRING,
    }
    return closed(
        "What a simple client reports.",
        properties,
        optional=[name for name in properties if name != "status"],
    )


SCHEMAS = components_of(Task, Explanation, TimelineLine, Attempt) | components_of(TaskSpec, sent=True)
SCHEMAS |= {
    "TaskSubmission": _submission(),
    "Task": _task(),
    "Attempt": _attempt(),
    "StatusReport": _status_report(),
    "LoggingSubmission": closed(
        "How much of its output stays with the engine.",
        {"maxSize": _QUANTITY, "maxFiles": INTEGER},
        optional=("maxSize", "maxFiles"),
    ),
}
for _inner in ("TaskSpec", "ContainerSpec", "TaskKind", "StopReason"):  # shown as parts of Task
    del SCHEMAS[_inner]

KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    description="The same key gives the same task, however often it is sent; with another body: 409.",
)
_STATUSES = Parameter(
    name="status",
    description=f"One or more, with commas, of {', '.join(TaskStatus)}.",
)
_LIST = (
    _STATUSES,
    Parameter(name="queue", description="Only those of this queue."),
    Parameter(name="node", description="Only those whose attempt is or was on this node, by id."),
    Parameter(name="name", description="Only those of this name."),
    LABEL,
    *paged(),
)
_LOGS = (
    Parameter(name="attempt", description="Which attempt's; the newest without it.", schema=INTEGER),
    Parameter(name="stream", description="One of them alone.", schema={"enum": ["stdout", "stderr"]}),
    Parameter(name="tail", description="Only so many lines from the end.", schema=INTEGER),
    Parameter(name="since", description="Only what was written from then on.", schema=TIME),
    Parameter(name="follow", description="Go on until the attempt has ended.", schema=BOOLEAN),
)
_REPLAY = closed("What shall differ.", {"queue": STRING, "runAt": TIME}, optional=("queue", "runAt"))
_RESOLVE = closed(
    "What became of the attempt.",
    {"outcome": {"enum": list(Resolution)}, "attempt": INTEGER | {"minimum": 1, "maximum": 2**31}},
    optional=("attempt",),
)

_BASE = "/api/v1/tasks"
_ONE = f"{_BASE}/{{id}}"
OPERATIONS = {
    f"POST {_BASE}": Operation(
        summary="Submit a task",
        tag=TAG,
        description="A task that fits nowhere is created all the same, with `schedulingError`.",
        parameters=(KEY,),
        body=reference("TaskSubmission"),
        example={"name": "hello", "image": "busybox", "args": ["echo", "hello"]},
        answers={201: _TASK, 200: _TASK},
    ),
    f"POST {_BASE}:batch": Operation(
        summary="Submit many tasks",
        tag=TAG,
        description="Each is accepted or refused by itself; the answers are in order.",
        body=closed("Up to 1,000.", {"tasks": array(reference("TaskSubmission"))}),
        example={"tasks": [{"name": "one", "image": "busybox"}, {"name": "two", "image": "busybox"}]},
        answers={200: array(_batch_item())},
    ),
    f"GET {_BASE}": Operation(
        summary="List tasks", tag=TAG, parameters=_LIST, answers={200: array(_TASK)}, is_list=True
    ),
    f"GET {_ONE}": Operation(summary="Read a task", tag=TAG, answers={200: _TASK}),
    f"GET {_ONE}/attempts": Operation(
        summary="List a task's attempts, oldest first",
        tag=TAG,
        parameters=paged(start="oldest"),
        answers={200: array(reference("Attempt"))},
        is_list=True,
    ),
    f"GET {_ONE}/timeline": Operation(
        summary="Read everything that happened to a task, oldest first",
        tag=TAG,
        parameters=paged(start="oldest"),
        answers={200: array(reference("TimelineLine"))},
        is_list=True,
    ),
    f"GET {_ONE}/explain": Operation(
        summary="Read why a task is where it is", tag=TAG, answers={200: reference("Explanation")}
    ),
    f"GET {_ONE}/logs": Operation(
        summary="Read a task's output",
        tag=TAG,
        description="Text as it was written; what is missing shows as a line that says so.",
        parameters=_LOGS,
        answers={200: None},
        media_type="text/plain",
    ),
    f"PUT {_ONE}/status": Operation(
        summary="Report a task's state",
        tag=TAG,
        description="For simple clients; without `attempt` only while the node's session is down.",
        body=reference("StatusReport"),
        example={"status": "completed", "attempt": 1, "exitCode": 0},
        answers={200: _TASK},
    ),
    f"POST {_ONE}/cancel": Operation(summary="Cancel a task", tag=TAG, answers={200: _TASK, 202: _TASK}),
    f"POST {_ONE}/retry": Operation(summary="Have the next attempt made now", tag=TAG, answers={200: _TASK}),
    f"POST {_ONE}/replay": Operation(
        summary="Submit an ended task again, as a new one",
        tag=TAG,
        body=_REPLAY,
        example={"queue": "default"},
        body_optional=True,
        answers={201: _TASK},
    ),
    f"POST {_ONE}/resolve": Operation(
        summary="Say what became of a held attempt",
        tag=TAG,
        body=_RESOLVE,
        example={"outcome": "retry"},
        answers={200: _TASK},
    ),
}
