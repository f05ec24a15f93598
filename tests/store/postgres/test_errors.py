"""What the driver's errors are for whoever asked."""

import asyncpg
import pytest

from podling.core.errors import InvalidInput
from podling.store.postgres.errors import translated


async def test_what_is_too_large_to_be_kept_is_the_fault_of_who_sent_it(
    connection: asyncpg.Connection,
) -> None:
    """An index takes no row above a third of a page, and that is no reason to wait for the database."""
    await connection.execute("CREATE TEMPORARY TABLE keyed (key text PRIMARY KEY)")
    with pytest.raises(InvalidInput, match="larger than the database can keep or index"), translated():
        await connection.execute(
            "INSERT INTO keyed SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n"
        )
