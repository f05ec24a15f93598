"""Tokens, and the version that tells who has read them whether to read again."""

from collections.abc import Callable
from datetime import datetime

from podling.core.token import Token
from podling.store.ports.tokens import Decide, StoredToken, TokenChanges


class TokenTable:
    """`written` is called after every write."""

    def __init__(self, written: Callable[[], None]) -> None:
        self._written = written
        self._version = 0
        self._rows: dict[str, tuple[int, StoredToken]] = {}

    async def changed_since(self, version: int) -> TokenChanges:
        changed = tuple(stored for written_at, stored in self._rows.values() if written_at > version)
        return TokenChanges(version=self._version, tokens=changed)

    async def write(self, decide: Decide) -> StoredToken:
        stored = decide([stored for _, stored in self._rows.values()])
        self._version += 1
        self._rows[stored.token.token_id] = (self._version, stored)
        self._written()
        return stored

    async def forget_ended(self, before: datetime) -> None:
        if any(stored.token.is_live(before) for _, stored in self._rows.values()):
            self._rows = {
                token_id: row
                for token_id, row in self._rows.items()
                if not _ended_before(row[1].token, before)
            }


def _ended_before(token: Token, moment: datetime) -> bool:
    return any(at is not None and at < moment for at in (token.revoked_at, token.expires_at))
