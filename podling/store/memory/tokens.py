"""Tokens, and the version that tells who has read them whether to read again."""

from collections.abc import Callable
from datetime import datetime

from podling.core.token import Token
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
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

    async def forget_ended(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        ended = [
            token_id for token_id, (_, stored) in self._rows.items() if _ended_before(stored.token, before)
        ]
        if not any(stored.token.is_live(before) for _, stored in self._rows.values()):
            ended = []
        for token_id in ended:
            del self._rows[token_id]
        return Forgotten(removed=len(ended), is_complete=True)


def _ended_before(token: Token, moment: datetime) -> bool:
    return any(at is not None and at < moment for at in (token.revoked_at, token.expires_at))
