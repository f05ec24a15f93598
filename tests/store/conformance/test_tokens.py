"""Tokens: versions in order of their writes, decisions one after the other."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from podling.core.access import Role
from podling.core.errors import Conflict
from podling.core.token import Token, TokenKind
from podling.store.base import Store
from podling.store.ports.maintained import Forgotten
from podling.store.ports.tokens import StoredToken
from tests.builders import NOW


def stored(name: str, **fields: Any) -> StoredToken:
    token = Token(
        **({"token_id": f"id-{name}", "name": name, "role": Role.READER, "created_at": NOW} | fields)
    )
    return StoredToken(token=token, secret_hash=f"hash of {name}")


async def put(store: Store, *tokens: StoredToken) -> None:
    for token in tokens:
        assert await store.tokens.write(lambda known, token=token: token) == token


async def test_a_token_is_read_as_it_was_written(store: Store) -> None:
    assert (await store.tokens.changed_since(0)).tokens == ()
    ada = stored("ada ü", role=Role.ADMIN)
    join = stored("join", kind=TokenKind.JOIN, role=Role.JOIN, uses=3)
    fields: dict[str, Any] = {"expires_at": NOW + timedelta(microseconds=1), "joined_by": "id-join"}
    bound = stored("node", kind=TokenKind.NODE, node_id="n-1", **fields)
    await put(store, ada, join, bound)
    assert sorted((await store.tokens.changed_since(0)).tokens, key=str) == sorted(
        [ada, join, bound], key=str
    )


async def test_what_was_written_since_is_told(store: Store) -> None:
    await put(store, stored("ada"), stored("bob"))
    seen = await store.tokens.changed_since(0)
    assert (await store.tokens.changed_since(seen.version)).tokens == ()
    ended = replace(stored("ada"), token=replace(stored("ada").token, revoked_at=NOW))
    await put(store, ended)
    news = await store.tokens.changed_since(seen.version)
    assert news.tokens == (ended,) and news.version > seen.version
    assert len((await store.tokens.changed_since(0)).tokens) == 2


async def test_what_is_refused_is_not_written(store: Store) -> None:
    await put(store, stored("ada"))

    def refuse(known: Sequence[StoredToken]) -> StoredToken:
        raise Conflict(f"there are {len(known)}")

    before = await store.tokens.changed_since(0)
    with pytest.raises(Conflict, match="there are 1"):
        await store.tokens.write(refuse)
    assert await store.tokens.changed_since(0) == before


async def test_no_decision_overlooks_another(store: Store) -> None:
    """Each of many takes the place that was free when it looked."""

    def next_one(known: Sequence[StoredToken]) -> StoredToken:
        return stored(f"number {len(known)}")

    await asyncio.gather(*(store.tokens.write(next_one) for _ in range(8)))
    names = {each.token.name for each in (await store.tokens.changed_since(0)).tokens}
    assert names == {f"number {number}" for number in range(8)}


async def test_masters_are_told(store: Store) -> None:
    called = asyncio.Event()
    listening = asyncio.create_task(store.listen(lambda: None, called.set))
    try:
        async with asyncio.timeout(8):
            await called.wait()
            called.clear()
            await put(store, stored("ada"))
            await called.wait()
    finally:
        listening.cancel()


async def test_the_ended_are_forgotten_but_never_all(store: Store) -> None:
    long_ago, limit = NOW - timedelta(days=40), NOW - timedelta(days=30)
    old = [stored("revoked", revoked_at=long_ago), stored("expired", expires_at=long_ago)]
    await put(store, *old)
    assert (await store.tokens.forget_ended(limit)).removed == 0
    assert len((await store.tokens.changed_since(0)).tokens) == 2, "the door would stand open again"
    kept = [stored("live"), stored("lately", revoked_at=NOW)]
    await put(store, *kept)
    assert await store.tokens.forget_ended(limit) == Forgotten(removed=2, is_complete=True)
    assert {each.token.name for each in (await store.tokens.changed_since(0)).tokens} == {"live", "lately"}
