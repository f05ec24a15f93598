"""Making, listing and revoking tokens."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from podling.core.access import LOCAL, Principal, Role
from podling.core.errors import Conflict, InvalidInput, Unauthorized
from podling.core.joining import join_token
from podling.core.token import Token, check_new, hash_secret, make_secret, revoke
from podling.master.context import MasterContext
from podling.store.ports.tokens import StoredToken
from podling.wire.tokens import TokenRequest


async def create(context: MasterContext, asking: Principal, asked: TokenRequest) -> tuple[Token, str]:
    """Return the new token and its secret, which nobody can be told again.

    The first of all is an admin's, whatever was asked for: from then on every request needs one, and
    without an admin nobody could make another. Raises InvalidInput, Conflict, Unauthorized.
    """
    now = context.clock.now()
    role = _role(asking, asked)
    token = Token(
        token_id=context.new_id(),
        name=asked.name,
        role=role,
        created_at=now,
        expires_at=_after(now, asked.expires_seconds),
    )
    if role is Role.JOIN:
        token = join_token(token, asked.uses, asked.node_id)
    secret = make_secret(role, context.draw_bits)
    new = StoredToken(token=token, secret_hash=hash_secret(secret))

    def decide(known: Sequence[StoredToken]) -> StoredToken:
        if asking is LOCAL and known:
            raise Unauthorized("somebody else has just made the first token; show one from now on")
        check_new((stored.token for stored in known), token)
        return new

    context.credentials.put(await context.store.tokens.write(decide))
    context.credentials.end_streams()
    return token, secret


def _role(asking: Principal, asked: TokenRequest) -> Role:
    if asking is LOCAL and asked.role is Role.JOIN:
        raise Conflict(
            "this master has no token yet, and the first is an admin's: make that one (podling token create"
            " NAME), and with it the one to join with",
            code="no_token_yet",
        )
    if asking is LOCAL:
        return Role.ADMIN
    if asked.role is None:
        raise InvalidInput.field("role", "is required")
    return asked.role


def _after(now: datetime, seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else now + timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidInput.field("expiresSeconds", "lies beyond the year 9999") from None


async def list_tokens(context: MasterContext) -> Sequence[Token]:
    """Return all, newest first, revoked and expired ones too until they are forgotten."""
    known = await context.store.tokens.changed_since(0)
    tokens = [stored.token for stored in known.tokens]
    return sorted(tokens, key=lambda token: (token.created_at, token.token_id), reverse=True)


async def revoke_token(context: MasterContext, token_id: str) -> Token:
    """End it, and what goes on with it. Doing so again changes nothing. Raises NotFound, Conflict."""
    now = context.clock.now()

    def decide(known: Sequence[StoredToken]) -> StoredToken:
        tokens = {stored.token.token_id: stored for stored in known}
        ended = revoke(
            (stored.token for stored in known), token_id, now, others_may_enter=context.credentials.has_shared
        )
        return replace(tokens[token_id], token=ended)

    stored = await context.store.tokens.write(decide)
    context.credentials.put(stored)
    context.credentials.end_streams()
    return stored.token
