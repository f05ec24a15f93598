"""What was refused and by which policy, in the contract."""

from podling.core.decision import Decision
from podling.core.permissions import Limits, Policy
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import STRING, TIME, array, closed, components_of, nullable, reference

TAG = "decisions"
ABOUT = "What was refused, and the policy by which."

_CODE = Parameter(name="code", description="Only of this code, such as `policy_denied`.")
_TASK = Parameter(name="taskId", description="Only about this task.")


def _limits() -> dict[str, object]:
    """CPU is told as people write it into a policy's file."""
    schema = components_of(Limits)["Limits"]
    return schema | {"properties": schema["properties"] | {"cpu": nullable(STRING)}}


SCHEMAS = (
    components_of(Decision, Policy)
    | {"Limits": _limits()}
    | {
        "PolicyInForce": closed(
            "The policy of the master that is asked; `source` is its file, `problem` why no newer one was "
            "taken.",
            {
                "policy": reference("Policy"),
                "source": nullable(STRING),
                "loadedAt": TIME,
                "problem": nullable(STRING),
            },
        )
    }
)

_LISTED = array(reference("Decision"))
OPERATIONS = {
    "GET /api/v1/decisions": Operation(
        summary="List what was refused",
        tag=TAG,
        description="Newest first. The same refusal of the same actor within an hour is one that counts.",
        parameters=(_TASK, _CODE, *paged()),
        answers={200: _LISTED},
        is_list=True,
    ),
    "GET /api/v1/ingest/decisions": Operation(
        summary="List what was refused when it came in",
        tag=TAG,
        description="Of all decisions those with a `door`, by which something would have become a task.",
        parameters=(_TASK, _CODE, *paged()),
        answers={200: _LISTED},
        is_list=True,
    ),
    "GET /api/v1/policy": Operation(
        summary="Read the policy in force", tag=TAG, answers={200: reference("PolicyInForce")}
    ),
}
