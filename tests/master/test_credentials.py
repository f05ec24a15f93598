"""What a master knows of tokens without asking."""

from dataclasses import replace
from datetime import datetime

import pytest

from podling.core.access import LOCAL, Role
from podling.core.errors import StoreUnavailable, Unauthorized
from podling.core.token import Token, hash_secret
from podling.master.credentials import Credentials
from podling.store.memory.tokens import TokenTable
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
from podling.store.ports.tokens import Decide, StoredToken, TokenChanges, Tokens
from tests.builders import NOW
from tests.master.world import ManualClock

SECRET = "podling_reader_" + "5" * 64


class CountedTokens(Tokens):
    """Counts how often it is asked, may be away, and may have another table from some moment on."""

    def __init__(self) -> None:
        self.table = TokenTable(lambda: None)
        self.asked = 0
        self.is_away = False

    async def changed_since(self, version: int) -> TokenChanges:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return await self.table.changed_since(version)

    async def write(self, decide: Decide) -> StoredToken:
        return await self.table.write(decide)

    async def forget_ended(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        return await self.table.forget_ended(before, seconds)


async def put(tokens: Tokens, secret: str = SECRET, token_id: str = "t-1") -> None:
    token = Token(token_id=token_id, name=token_id, role=Role.READER, created_at=NOW)
    await tokens.write(lambda known: StoredToken(token=token, secret_hash=hash_secret(secret)))


async def test_neither_a_token_nor_a_guess_asks_the_store() -> None:
    tokens = CountedTokens()
    await put(tokens)
    credentials = Credentials(tokens, ManualClock(), None)
    await credentials.load()
    tokens.is_away = True
    for number in range(1000):
        assert credentials.identify(SECRET).roles == {Role.READER}
        with pytest.raises(Unauthorized):
            credentials.identify(f"podling_reader_{number:064x}")
    assert tokens.asked == 1


async def test_what_is_known_stays_known_while_the_store_is_away() -> None:
    """And the door does not open."""
    tokens = CountedTokens()
    await put(tokens)
    credentials = Credentials(tokens, ManualClock(), None)
    await credentials.load()
    tokens.is_away = True
    with pytest.raises(StoreUnavailable):
        await credentials.run_once()
    assert not credentials.is_open and credentials.identify(SECRET).token_id == "t-1"


async def test_a_store_that_went_back_in_time_is_read_anew() -> None:
    tokens, restored = CountedTokens(), CountedTokens()
    await put(restored, "of the backup", "t-0")
    await put(tokens, "of the backup", "t-0")
    await put(tokens)
    credentials = Credentials(tokens, ManualClock(), None)
    await credentials.load()
    tokens.table = restored.table
    await credentials.run_once()
    assert credentials.identify("of the backup").token_id == "t-0"
    with pytest.raises(Unauthorized):
        credentials.identify(SECRET)


async def test_a_new_secret_of_a_token_replaces_its_old_one() -> None:
    tokens = CountedTokens()
    await put(tokens)
    credentials = Credentials(tokens, ManualClock(), None)
    await credentials.load()
    await put(tokens, "rotated")
    await credentials.run_once()
    assert credentials.identify("rotated").token_id == "t-1"
    with pytest.raises(Unauthorized):
        credentials.identify(SECRET)


async def test_without_any_token_whoever_shows_none_is_local() -> None:
    credentials = Credentials(CountedTokens(), ManualClock(), None)
    await credentials.load()
    assert credentials.is_open and credentials.identify(None) is LOCAL
    with pytest.raises(Unauthorized) as refused:
        credentials.identify("whatever")
    assert refused.value.code == "no_token_exists"
    assert not Credentials(CountedTokens(), ManualClock(), "shared").is_open


class SlowTokens(CountedTokens):
    """Something happens while its answer is on the way."""

    async def changed_since(self, version: int) -> TokenChanges:
        answer = await super().changed_since(version)
        if version:
            await self.meanwhile()
        return answer

    async def meanwhile(self) -> None:
        """Nothing happens at first."""


async def test_a_late_answer_of_the_store_does_not_bring_a_revoked_token_back() -> None:
    tokens = SlowTokens()
    await put(tokens, "another", "t-0")
    credentials = Credentials(tokens, ManualClock(), None)
    await credentials.load()
    await put(tokens)

    made = next(
        stored for stored in (await tokens.table.changed_since(0)).tokens if stored.token.token_id == "t-1"
    )
    ended = replace(made, token=replace(made.token, revoked_at=NOW))

    async def revoke() -> None:
        credentials.put(await tokens.write(lambda known: ended))

    tokens.meanwhile = revoke  # type: ignore[method-assign]
    await credentials.run_once()
    with pytest.raises(Unauthorized, match="was revoked"):
        credentials.identify(SECRET)
