"""Joining on the wire."""

import re
from collections.abc import Mapping
from typing import Any

from podling.core.errors import InvalidInput
from podling.core.policy import validate_node_id
from podling.core.token import Token
from podling.wire.body import refuse_unknown
from podling.wire.codec import to_plain

_HASH = re.compile(r"[0-9a-f]{64}")


def parse_join(plain: Mapping[str, Any]) -> tuple[str, str]:
    """Return the node's id and the hash of its secret. Raises InvalidInput by field."""
    refuse_unknown(plain, frozenset({"nodeId", "secretHash"}))
    node_id = plain.get("nodeId")
    if not isinstance(node_id, str):
        raise InvalidInput.field("nodeId", "is required" if node_id is None else "must be a string")
    return validate_node_id(node_id), _hash(plain)


def parse_renewal(plain: Mapping[str, Any]) -> str:
    """Return the hash of the node's next secret. Raises InvalidInput by field."""
    refuse_unknown(plain, frozenset({"secretHash"}))
    return _hash(plain)


def _hash(plain: Mapping[str, Any]) -> str:
    given = plain.get("secretHash")
    if not isinstance(given, str) or not _HASH.fullmatch(given):
        raise InvalidInput.field("secretHash", "must be the SHA-256 of a secret, as 64 digits from 0 to f")
    return given


def credential_view(credential: Token) -> dict[str, Any]:
    """Return what a node is told of its credential."""
    return {"nodeId": credential.node_id, "expiresAt": to_plain(credential.expires_at)}
