"""Tokens: what is known of one, how its secret looks, and when it may end."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from podling.core.access import Role
from podling.core.errors import Conflict, InvalidInput, NotFound
from podling.core.fields import check_text
from podling.core.value import value

SECRET_BITS = 256
SECRET_PATTERN = re.compile(r"podling_[a-z]+_[0-9a-f]{64}")
LONGEST_NAME = 100


class TokenKind(StrEnum):
    USER = "user"  # made by an admin, for a person, a program or a worker
    JOIN = "join"  # lets one machine become a node, and nothing else
    NODE = "node"  # one node's own


@value
class Token:
    """`node_id` binds it to that node's routes and attempts, or a join token to that node's return.

    `uses` is how many machines a join token lets in, `joined_by` the id of the one that let a node in.
    """

    token_id: str
    name: str
    role: Role
    kind: TokenKind = TokenKind.USER
    node_id: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    uses: int | None = None
    joined_by: str | None = None

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_live(self, now: datetime) -> bool:
        """Whether it is accepted."""
        return self.revoked_at is None and not self.has_expired(now)


def make_secret(role: Role, draw_bits: Callable[[int], int]) -> str:
    """Return what its holder sends. The words before it let people, and scanners for secrets, know it."""
    return f"podling_{role}_{draw_bits(SECRET_BITS):0{SECRET_BITS // 4}x}"


def hash_secret(secret: str) -> str:
    """Return what is kept of a secret: of so many random bits nothing slower than SHA-256 is needed."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def check_new(known: Iterable[Token], token: Token) -> Token:
    """Return the token if it may be added. Raises InvalidInput, Conflict for a name that is taken."""
    check_text("name", token.name, LONGEST_NAME)
    if token.role is Role.TASK:
        raise InvalidInput.field("role", "must not be task: an attempt gets its credential from Podling")
    for other in known:
        if other.name == token.name and other.is_live(token.created_at):
            raise Conflict(
                f"there is a token named {token.name} already; revoke it first, or choose another name",
                code="token_exists",
                details={"tokenId": other.token_id},
            )
    return token


def revoke(known: Iterable[Token], token_id: str, now: datetime, *, others_may_enter: bool) -> Token:
    """Return the token as it is when revoked; one that was revoked before stays as it is.

    Raises NotFound, and Conflict for the last admin's: nobody could make another one. With
    `others_may_enter` there is a way in beside the stored tokens.
    """
    tokens = {token.token_id: token for token in known}
    if (token := tokens.pop(token_id, None)) is None:
        raise NotFound.of("token")
    if token.revoked_at is not None:
        return token
    admin_left = any(other.role is Role.ADMIN and other.is_live(now) for other in tokens.values())
    if token.role is Role.ADMIN and token.is_live(now) and not admin_left and not others_may_enter:
        raise Conflict(
            "this is the last admin's token, and without one nobody can get in: make another one first "
            "(podling token create NAME --role admin)",
            code="last_admin",
        )
    return replace(token, revoked_at=now)
