"""Tokens and the audit on the wire."""

from collections.abc import Mapping
from typing import Any

from podling.core.access import Role
from podling.core.audit import AuditEntry
from podling.core.errors import InvalidInput
from podling.core.fields import check_seconds
from podling.core.token import Token
from podling.core.value import value
from podling.wire.body import refuse_unknown
from podling.wire.codec import to_plain

OUTPUT_ONLY = frozenset("tokenId kind nodeId createdAt expiresAt revokedAt token".split())
_FIELDS = frozenset({"name", "role", "expiresSeconds"})


@value
class TokenRequest:
    """What somebody wants a token for. `expires_seconds` None is for ever; only the first needs no role."""

    name: str
    role: Role | None
    expires_seconds: float | None = None


def parse_token_request(plain: Mapping[str, Any]) -> TokenRequest:
    """Read what `POST /tokens` takes. Raises InvalidInput by field."""
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, _FIELDS)
    name = given.get("name")
    if not isinstance(name, str):
        raise InvalidInput.field("name", "is required" if name is None else "must be a string")
    return TokenRequest(name=name, role=_role(given.get("role")), expires_seconds=_seconds(given))


def _role(item: Any) -> Role | None:
    if item is None:
        return None
    if item not in tuple(Role):
        raise InvalidInput.field("role", f"must be one of {', '.join(role for role in Role)}")
    return Role(item)


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
