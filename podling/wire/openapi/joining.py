"""How machines become nodes, in the contract."""

from podling.wire.openapi.nodes import MESSAGE
from podling.wire.openapi.operation import Operation
from podling.wire.openapi.schema import STRING, TIME, Schema, closed, reference

TAG = "joining"
ABOUT = "How machines become nodes, and the credential that each of them has."

_HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_EXAMPLE_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

SCHEMAS = {
    "NodeCredential": closed("What a node is let in with from now on.", {"nodeId": STRING, "expiresAt": TIME})
}
_CREDENTIAL = reference("NodeCredential")
OPERATIONS = {
    "POST /api/v1/join": Operation(
        summary="Become a node",
        tag=TAG,
        description="Shown with a join token. The machine draws the secret of its credential itself and "
        "sends its SHA-256; asking again with the same one gives the same answer.",
        body=closed("", {"nodeId": STRING, "secretHash": _HASH}),
        example={"nodeId": "node-1", "secretHash": _EXAMPLE_HASH},
        answers={201: _CREDENTIAL},
    ),
    "POST /api/v1/nodes/{id}/credential": Operation(
        summary="Renew a node's credential",
        tag=TAG,
        description="Shown with the one that there is, which stays; older ones end.",
        body=closed("", {"secretHash": _HASH}),
        example={"secretHash": _EXAMPLE_HASH},
        answers={201: _CREDENTIAL},
    ),
    "DELETE /api/v1/nodes/{id}/credential": Operation(
        summary="End a node's credential and its session", tag=TAG, answers={200: MESSAGE}
    ),
    "GET /api/v1/ca.pem": Operation(
        summary="Read who signed the master's certificate",
        tag=TAG,
        description="For whoever knows its fingerprint.",
        answers={200: None},
        media_type="application/x-pem-file",
    ),
}
