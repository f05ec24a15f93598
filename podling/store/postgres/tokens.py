"""Tokens, and the version that tells who has read them whether to read again."""

from datetime import datetime

import asyncpg

from podling.core.access import Role
from podling.core.token import Token, TokenKind
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
from podling.store.ports.tokens import Decide, StoredToken, TokenChanges
from podling.store.postgres.errors import translated
from podling.store.postgres.hints import Notifier
from podling.store.postgres.maintenance import deletions, forget
from podling.store.postgres.pool import Pool
from podling.store.postgres.queries import load

_SQL = load("tokens")


class TokenTable:
    """The port `Tokens`."""

    def __init__(self, pool: Pool, notifier: Notifier) -> None:
        self._pool = pool
        self._notifier = notifier

    async def changed_since(self, version: int) -> TokenChanges:
        rows = await self._pool.fetch(_SQL.changed, version)
        changed = tuple(_read(row) for row in rows if row["token_id"] is not None)
        return TokenChanges(version=rows[0]["tokens_version"], tokens=changed)

    async def write(self, decide: Decide) -> StoredToken:
        with translated():
            async with self._pool.transaction() as connection:
                version = await connection.fetchval(_SQL.next_version)  # which every other write waits for
                stored = decide([_read(row) for row in await connection.fetch(_SQL.all)])
                await connection.execute(_SQL.put, *_row(stored, version))
        self._notifier.call()
        return stored

    async def forget_ended(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        return await forget(seconds, deletions(self._pool, _SQL.forget_ended, before))


def _row(stored: StoredToken, version: int) -> tuple[object, ...]:
    token = stored.token
    return (
        token.token_id,
        version,
        stored.secret_hash,
        token.kind,
        token.name,
        token.role,
        token.node_id,
        token.created_at,
        token.expires_at,
        token.revoked_at,
        token.uses,
        token.joined_by,
    )


def _read(row: asyncpg.Record) -> StoredToken:
    token = Token(
        token_id=row["token_id"],
        name=row["name"],
        role=Role(row["role"]),
        kind=TokenKind(row["kind"]),
        node_id=row["node_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        uses=row["uses"],
        joined_by=row["joined_by"],
    )
    return StoredToken(token=token, secret_hash=row["secret_hash"])
