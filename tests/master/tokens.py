"""Tokens of every kind on a running master, and clients that show them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from secrets import randbits
from typing import Any

from podling.core.access import Role
from podling.core.token import Token, hash_secret, make_secret
from podling.store.ports.tokens import StoredToken
from tests.master.masters import Api, RunningMaster

_serial = count(1)


async def add_token(
    master: RunningMaster, role: Role, *, age: float = 0.0, **fields: Any
) -> tuple[Token, str]:
    """Put a token into the store as another master would, have this one know it, and return its secret.

    With `age` it was made so many seconds ago; `expires_at` and `revoked_at` are counted from then.
    """
    context = master.server.context
    made_at = context.clock.now() - timedelta(seconds=age)
    for name in ("expires_at", "revoked_at"):
        if name in fields:
            fields[name] = made_at + timedelta(seconds=fields[name])
    number = next(_serial)
    known = {"token_id": f"token-{number}", "name": f"{role}-{number}", "role": role, "created_at": made_at}
    token = Token(**(known | fields))
    secret = make_secret(role, randbits)
    new = StoredToken(token=token, secret_hash=hash_secret(secret))
    await context.store.tokens.write(lambda known: new)
    await context.credentials.run_once()
    return token, secret


@asynccontextmanager
async def showing(master: RunningMaster, secret: str | None) -> AsyncIterator[Api]:
    """Give a client that shows the secret, or none."""
    api = Api(master.url, {"Authorization": f"Bearer {secret}"} if secret else None)
    try:
        yield api
    finally:
        await api.close()
