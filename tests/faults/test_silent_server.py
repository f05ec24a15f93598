"""A server that keeps the line and says nothing."""

import asyncio
from urllib.parse import urlsplit

import pytest

from podling.store.postgres.store import PostgresStore
from tests.conftest import ServerOf
from tests.faults.cuttable import cuttable

PATIENCE_SECONDS = 0.3


async def test_who_has_waited_long_enough_is_not_kept_by_the_driver(server_of: ServerOf) -> None:
    async with server_of("debian").database() as dsn:
        address = urlsplit(dsn)
        assert address.port is not None
        with cuttable(address.port) as line:
            store = PostgresStore(dsn.replace(f":{address.port}/", f":{line.port}/"))
            await store.open()
            try:
                for call in (store.ping, store.leadership):
                    await call()
                    line.cut()
                    began = asyncio.get_running_loop().time()
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(PATIENCE_SECONDS):
                            await call()
                    assert asyncio.get_running_loop().time() - began < PATIENCE_SECONDS + 2
                    line.heal()
                await store.ping()
            finally:
                await store.close()
