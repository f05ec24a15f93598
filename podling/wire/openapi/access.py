"""Tokens and the audit, in the contract."""

from podling.core.audit import AuditEntry, Outcome
from podling.core.token import Token
from podling.wire.openapi.operation import Operation, Parameter, paged
from podling.wire.openapi.schema import (
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    components_of,
    properties_of,
    reference,
)
from podling.wire.tokens import OUTPUT_ONLY

TAG = "access"
ABOUT = "Who may come in, and what they have changed."

_TOKEN = reference("Token")


def _whole(kind: type[Token] | type[AuditEntry], description: str, **more: Schema) -> Schema:
    """Return what is answered, where every field is there."""
    return closed(description, properties_of(kind) | more)


def _request() -> Schema:
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    properties = ignored | {
        "name": STRING,
        "role": {"enum": ["reader", "submitter", "operator", "admin", "worker", "join"]},
        "expiresSeconds": NUMBER | {"exclusiveMinimum": 0},
        "uses": INTEGER | {"description": "With the role `join`: for so many machines (1)."},
        "nodeId": STRING | {"description": "With the role `join`: for this node alone."},
    }
    return closed(
        "Only the first of all tokens, which is an admin's in any case, needs no `role`.",
        properties,
        [name for name in properties if name != "name"],
    )


SCHEMAS = components_of(Token, AuditEntry) | {
    "Token": _whole(Token, "A token, without its secret."),
    "NewToken": _whole(Token, "A token; `token` is its secret, shown this once.", token=STRING),
    "AuditEntry": _whole(AuditEntry, "A request that wanted a change, and how it went."),
    "TokenRequest": _request(),
}

_AUDITED = (
    Parameter(name="actor", description="Only of this name."),
    Parameter(
        name="action",
        description="Only this method, or method and pattern: `POST`, `POST /api/v1/tasks/{id}/cancel`.",
    ),
    Parameter(name="outcome", description="Only what went so.", schema={"enum": list(Outcome)}),
    Parameter(name="since", description="Only from this time on.", schema=TIME),
    Parameter(name="until", description="Only before this time.", schema=TIME),
)
_BASE = "/api/v1/tokens"
OPERATIONS = {
    f"POST {_BASE}": Operation(
        summary="Make a token",
        tag=TAG,
        description="The first of all is an admin's; from then on every request needs one.",
        body=reference("TokenRequest"),
        example={"name": "ci", "role": "submitter", "expiresSeconds": 2_592_000},
        answers={201: reference("NewToken")},
    ),
    f"GET {_BASE}": Operation(
        summary="List tokens", tag=TAG, parameters=paged(), answers={200: array(_TOKEN)}, is_list=True
    ),
    f"DELETE {_BASE}/{{id}}": Operation(
        summary="Revoke a token",
        tag=TAG,
        description="What was begun with it ends within two seconds. The last admin's is not revoked.",
        answers={200: _TOKEN},
    ),
    "GET /api/v1/audit": Operation(
        summary="List who changed what, and who was refused",
        tag=TAG,
        parameters=(*_AUDITED, *paged()),
        answers={200: array(reference("AuditEntry"))},
        is_list=True,
    ),
}
