"""A machine joins, its credential is renewed, and ended."""

from collections.abc import Callable, Sequence

from podling.core import joining
from podling.core.access import Principal
from podling.core.errors import Conflict, Forbidden
from podling.core.token import Token
from podling.master.context import MasterContext
from podling.master.operations.tokens import revoke_token
from podling.store.ports.tokens import StoredToken


async def join(context: MasterContext, asking: Principal, node_id: str, secret_hash: str) -> Token:
    """Give the machine that shows a join token the credential of this node.

    Asking again with the same hash gives the same. Raises Forbidden, Conflict, Unauthorized.
    """
    if (join_id := asking.token_id) is None:
        raise Forbidden(
            "a machine joins with a join token: podling token create NAME --join", code="no_join_token"
        )
    now = context.clock.now()
    new = joining.credential(context.new_id(), node_id, join_id, now)
    is_listed = await context.store.load_node(node_id) is not None

    def check(known: Sequence[Token]) -> Token:
        joining.check_join(known, join_id, node_id, now, is_listed=is_listed)
        return new

    return await _write(context, node_id, secret_hash, check)


async def renew(context: MasterContext, asking: Principal, node_id: str, secret_hash: str) -> Token:
    """Let the node in with another secret from now on, and with the one that it shows.

    Older ones end. Asking again with the same hash gives the same. Raises Forbidden, Unauthorized.
    """
    now, token_id = context.clock.now(), asking.token_id
    older: list[Token] = []

    def check(known: Sequence[Token]) -> Token:
        current = joining.check_renewal(known, token_id, node_id, now)
        older[:] = joining.outdated(known, node_id, now, kept=[current.token_id])
        return joining.credential(context.new_id(), node_id, current.joined_by, now)

    renewed = await _write(context, node_id, secret_hash, check)
    for credential in older:
        await revoke_token(context, credential.token_id)
    return renewed


async def end(context: MasterContext, node_id: str) -> int:
    """End the node's credentials, and its session with them; return how many there were."""
    ended = 0
    # Again until none is left: the node may have got another one while these were looked for.
    while credentials := await _live(context, node_id):
        for credential in credentials:
            await revoke_token(context, credential.token_id)
        ended += len(credentials)
    return ended


async def _live(context: MasterContext, node_id: str) -> Sequence[Token]:
    known = [stored.token for stored in (await context.store.tokens.changed_since(0)).tokens]
    return joining.outdated(known, node_id, context.clock.now())


async def _write(
    context: MasterContext, node_id: str, secret_hash: str, check: Callable[[Sequence[Token]], Token]
) -> Token:
    def decide(known: Sequence[StoredToken]) -> StoredToken:
        now = context.clock.now()
        for stored in known:
            if stored.secret_hash == secret_hash:
                return _same(stored, node_id, is_live=stored.token.is_live(now))
        new = check([stored.token for stored in known])
        return StoredToken(token=new, secret_hash=secret_hash)

    stored = await context.store.tokens.write(decide)
    context.credentials.put(stored)
    return stored.token


def _same(stored: StoredToken, node_id: str, *, is_live: bool) -> StoredToken:
    """Return what an earlier try has made. Raises Conflict."""
    if stored.token.node_id != node_id or not is_live:
        raise Conflict("that secret has been used before; draw another one", code="secret_used")
    return stored
