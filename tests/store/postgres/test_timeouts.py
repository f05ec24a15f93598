"""Every session of a store has its limits on the server's side too, where no client has to be alive."""

import asyncio

import asyncpg
import pytest

from podling.store.postgres.errors import DRIVER_ERRORS, lost_connection
from podling.store.postgres.store import PostgresStore

LIMIT_SECONDS = 0.5
PATIENCE_SECONDS = 20.0


@pytest.fixture(params=["direct", "pooled"])
async def limited(request: pytest.FixtureRequest, dsn: str) -> PostgresStore:
    """A store that waits half a second; `pooled` sets its limits in every transaction."""
    past = f"{dsn}?application_name=direct" if request.param == "pooled" else None
    return PostgresStore(dsn, direct_dsn=past, command_timeout_seconds=LIMIT_SECONDS)


async def test_the_server_ends_a_statement_that_takes_too_long(limited: PostgresStore) -> None:
    await limited.open()
    try:
        with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
            async with limited._pool.transaction() as connection:
                await connection.execute("SELECT pg_sleep(60)", timeout=PATIENCE_SECONDS)
        await limited.ping()
    finally:
        await limited.close()


async def test_the_server_ends_a_transaction_in_which_nothing_happens(limited: PostgresStore) -> None:
    await limited.open()
    cut_off = asyncio.Event()
    try:
        with pytest.raises(DRIVER_ERRORS) as lost:
            async with limited._pool.transaction() as connection:
                connection.add_termination_listener(lambda _: cut_off.set())
                await asyncio.wait_for(cut_off.wait(), PATIENCE_SECONDS)
        assert lost_connection(lost.value)
        await limited.ping()
    finally:
        await limited.close()
