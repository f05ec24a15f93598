"""What is old goes in batches, so that nobody waits for long, and within a time."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from podling.store.ports.maintained import Forgotten
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW

MANY = 1500
OLD = NOW - timedelta(days=90)
LIMIT = NOW - timedelta(days=30)

DECISIONS = (
    "INSERT INTO decisions (decision_id, at, first_at, count, code, actor, message, details)"
    " SELECT number::text, $1, $1, 1, 'x', 'ada', 'no', '{}' FROM generate_series(1, $2::int) AS number"
)
TOKENS = (
    "INSERT INTO tokens (token_id, version, secret_hash, kind, name, role, created_at, revoked_at)"
    " SELECT number::text, 1, number::text, 'user', 'ada', 'reader', $1::timestamptz,"
    " CASE WHEN number > 1 THEN $1::timestamptz END FROM generate_series(1, $2::int) AS number"
)
AUDIT = (
    "INSERT INTO audit (at, body)"
    " SELECT CASE WHEN number > 1 THEN $1 ELSE now() END, '{}' FROM generate_series(1, $2::int) AS number"
)

Forget = Callable[[PostgresStore, float], Awaitable[Forgotten]]


@pytest.mark.parametrize(
    ("fill", "forget", "table", "kept"),
    [
        (DECISIONS, lambda store, seconds: store.decisions.prune(LIMIT, 10_000, seconds), "decisions", 0),
        (DECISIONS, lambda store, seconds: store.decisions.prune(OLD, 7, seconds), "decisions", 7),
        (TOKENS, lambda store, seconds: store.tokens.forget_ended(LIMIT, seconds), "tokens", 1),
        (AUDIT, lambda store, seconds: store.audit.forget(LIMIT, seconds), "audit", 1),
    ],
)
async def test_a_pass_ends_after_its_time_and_the_next_goes_on(
    store: PostgresStore, connection: asyncpg.Connection, fill: str, forget: Forget, table: str, kept: int
) -> None:
    await connection.execute(fill, OLD, MANY)
    first = await forget(store, 0.0)
    assert first == Forgotten(removed=1000, is_complete=False)
    second = await forget(store, 5.0)
    assert second == Forgotten(removed=MANY - 1000 - kept, is_complete=True)
    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == kept
