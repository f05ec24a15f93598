"""How a machine becomes a node: join tokens, and the credential of its own that it gets for one.

The machine draws the secret of its credential itself and shows only its hash. So the secret never
travels, and asking again after a lost reply finds what was made before.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from podling.core.access import Role
from podling.core.errors import Conflict, Forbidden, InvalidInput, TooManyRequests, Unauthorized
from podling.core.token import Token, TokenKind
from podling.core.value import value

JOIN_SECONDS = 3600.0
MOST_JOIN_SECONDS = 7 * 86_400.0
MOST_USES = 10_000
CREDENTIAL_DAYS = 30
RENEW_DAYS = 7
"""A worker renews its credential so long after it was made: there is time to repair what is in the way."""
MOST_PER_HOUR = 20
"""Credentials of one node: each stays in the store for a while, and every master reads all of them."""

_TEXT = re.compile(r"(podling_join_[0-9a-f]{64})(?:\.([0-9a-f]{64}))?")
_HOW = "an admin makes one with podling token create NAME --join"


@value
class JoinToken:
    """What stands on the second machine's command line: the secret, and whom that machine may trust."""

    secret: str
    fingerprint: str | None = None

    @classmethod
    def parse(cls, text: str) -> "JoinToken":
        """Raises ValueError."""
        if (found := _TEXT.fullmatch(text.strip())) is None:
            raise ValueError(f"that is no join token; {_HOW}, which prints the whole command")
        return cls(secret=found[1], fingerprint=found[2])

    def __str__(self) -> str:
        return self.secret if self.fingerprint is None else f"{self.secret}.{self.fingerprint}"


def join_token(token: Token, uses: int | None, node_id: str | None) -> Token:
    """Return the token as one to join with: it ends soon, and lets in so many machines (1).

    With `node_id` it lets in that node alone, also one that is known already. Raises InvalidInput.
    """
    until = token.expires_at or token.created_at + timedelta(seconds=JOIN_SECONDS)
    if until > token.created_at + timedelta(seconds=MOST_JOIN_SECONDS):
        raise InvalidInput.field(
            "expiresSeconds", f"of a join token must be {MOST_JOIN_SECONDS:.0f} (7 days) at most"
        )
    uses = 1 if uses is None else uses
    if not 1 <= uses <= MOST_USES:
        raise InvalidInput.field("uses", f"must be a whole number from 1 to {MOST_USES}")
    return replace(token, kind=TokenKind.JOIN, expires_at=until, uses=uses, node_id=node_id)


def credential(token_id: str, node_id: str, joined_by: str | None, now: datetime) -> Token:
    """Return what a node is let in with from now on."""
    return Token(
        token_id=token_id,
        name=f"node {node_id}",
        role=Role.WORKER,
        kind=TokenKind.NODE,
        node_id=node_id,
        created_at=now,
        expires_at=now + timedelta(days=CREDENTIAL_DAYS),
        joined_by=joined_by,
    )


def check_join(known: Iterable[Token], join_id: str, node_id: str, now: datetime, *, is_listed: bool) -> None:
    """Raise Unauthorized, Forbidden or Conflict if this join token does not let this node in.

    Raises TooManyRequests for a node that asks again and again.

    `is_listed`: there is such a node already, with a credential of its own or without.
    """
    tokens = list(known)
    join = next((token for token in tokens if token.token_id == join_id), None)
    if join is None or not join.is_live(now):
        raise Unauthorized(f"the join token has ended; {_HOW}", code="join_token_ended")
    used_by = {token.node_id for token in tokens if token.joined_by == join_id}
    if len(used_by) >= (join.uses or 1) and node_id not in used_by:
        raise Forbidden(f"the join token {join.name} has been used up; {_HOW}", code="join_token_used")
    if join.node_id not in (None, node_id):
        raise Forbidden(f"the join token {join.name} is for node {join.node_id} alone", code="another_node")
    had_credential = any(token.kind is TokenKind.NODE and token.node_id == node_id for token in tokens)
    if join.node_id is None and (is_listed or had_credential):
        raise Conflict(
            f"node {node_id} has been here before: if this is that machine, make a join token for it alone "
            f"(podling token create NAME --join --node {node_id}), else start the worker on a new --data-dir",
            code="node_exists",
        )
    _check_rate(tokens, node_id, now)


def check_renewal(known: Iterable[Token], token_id: str | None, node_id: str, now: datetime) -> Token:
    """Return the credential that is renewed. Raises Forbidden, Unauthorized, TooManyRequests."""
    tokens = list(known)
    current = next((token for token in tokens if token.token_id == token_id), None)
    if current is None or current.kind is not TokenKind.NODE or current.node_id != node_id:
        raise Forbidden("only a node's own credential can be renewed", code="no_node_credential")
    if not current.is_live(now):
        raise Unauthorized(f"the credential of node {node_id} has ended; {_HOW}", code="revoked_token")
    _check_rate(tokens, node_id, now)
    return current


def _check_rate(known: Iterable[Token], node_id: str, now: datetime) -> None:
    recent = sum(
        token.kind is TokenKind.NODE
        and token.node_id == node_id
        and token.created_at > now - timedelta(hours=1)
        for token in known
    )
    if recent >= MOST_PER_HOUR:
        raise TooManyRequests(
            f"node {node_id} got {recent} credentials within an hour; use the last one, or try again later",
            code="too_many_credentials",
        )


def outdated(known: Iterable[Token], node_id: str, now: datetime, kept: Iterable[str] = ()) -> list[Token]:
    """Return the node's live credentials but those that are kept."""
    return [
        token
        for token in known
        if token.kind is TokenKind.NODE
        and token.node_id == node_id
        and token.token_id not in tuple(kept)
        and token.is_live(now)
    ]
