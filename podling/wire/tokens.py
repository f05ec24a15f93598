"""Tokens and the audit on the wire."""

from collections.abc import Mapping
from typing import Any

from podling.core.access import Role
from podling.core.audit import AuditEntry
from podling.core.errors import InvalidInput
from podling.core.fields import check_seconds, one_of
from podling.core.policy import validate_node_id
from podling.core.token import Token
from podling.core.value import value
from podling.wire.body import refuse_unknown
from podling.wire.codec import to_plain

OUTPUT_ONLY = frozenset("tokenId kind createdAt expiresAt revokedAt joinedBy token".split())
_FIELDS = frozenset({"name", "role", "expiresSeconds", "uses", "nodeId"})


@value
class TokenRequest:
    """What somebody wants a token for. `expires_seconds` None is for ever; only the first needs no role."""

    name: str
    role: Role | None
    expires_seconds: float | None = None
    uses: int | None = None
    node_id: str | None = None


def parse_token_request(plain: Mapping[str, Any]) -> TokenRequest:
    """Read what `POST /tokens` takes. Raises InvalidInput by field."""
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, _FIELDS)
    name = given.get("name")
    if not isinstance(name, str):
        raise InvalidInput.field("name", "is required" if name is None else "must be a string")
    role = _role(given.get("role"))
    more = _of_join_token(given) if role is Role.JOIN else {}
    return TokenRequest(name=name, role=role, expires_seconds=_seconds(given), **more)


def _role(item: Any) -> Role | None:
    return None if item is None else one_of(Role, "role", item)


def _of_join_token(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked of a join token; of others the two fields are only read."""
    uses, node_id = given.get("uses"), given.get("nodeId")
    if uses is not None and (isinstance(uses, bool) or not isinstance(uses, int)):
        raise InvalidInput.field("uses", "must be a whole number")
    if node_id is not None and not isinstance(node_id, str):
        raise InvalidInput.field("nodeId", "must be a string")
    return {"uses": uses, "node_id": None if node_id is None else validate_node_id(node_id)}


def _seconds(given: Mapping[str, Any]) -> float | None:
    item = given.get("expiresSeconds")
    if item is None:
        return None
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise InvalidInput.field("expiresSeconds", "must be a number")
    check_seconds("expiresSeconds", item)
    return float(item)


def token_view(token: Token, secret: str | None = None) -> dict[str, Any]:
    """Return what is read of a token; its secret only when it has just been made."""
    shown = {} if secret is None else {"token": secret}
    return to_plain(token) | shown  # type: ignore[no-any-return]


def audit_view(entry: AuditEntry) -> dict[str, Any]:
    return to_plain(entry)  # type: ignore[no-any-return]
