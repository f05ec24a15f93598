"""A server that keeps the line and says nothing."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from podling.core.errors import StoreUnavailable
from podling.store.postgres.store import PostgresStore
from tests.conftest import ServerOf
from tests.faults.proxy import proxy

PATIENCE_SECONDS = 0.3


async def test_who_has_waited_long_enough_is_not_kept_by_the_driver(server_of: ServerOf) -> None:
    async with server_of("debian").database() as dsn:
        address = urlsplit(dsn)
        assert address.port is not None
        with proxy(address.port) as line:
            store = PostgresStore(dsn.replace(f":{address.port}/", f":{line.port}/"))
            await store.open()
            try:
                for call in (store.ping, store.leadership):
                    await call()
                    line.silence()
                    began = asyncio.get_running_loop().time()
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(PATIENCE_SECONDS):
                            await call()
                    assert asyncio.get_running_loop().time() - began < PATIENCE_SECONDS + 2
                    line.heal()
                await store.ping()
            finally:
                await store.close()


async def test_a_first_host_that_keeps_silent_hides_no_second_one(server_of: ServerOf) -> None:
    async with server_of("debian").database() as dsn:
        port = urlsplit(dsn).port
        assert port is not None
        with proxy(port) as line:
            line.silence()
            hosts = f"127.0.0.1:{line.port},127.0.0.1:{port}"
            both = dsn.replace(f"127.0.0.1:{port}", hosts) + "?target_session_attrs=read-write"
            store = PostgresStore(both, command_timeout_seconds=1.0)
            try:
                async with asyncio.timeout(20):
                    await store.open()
                    await store.ping()
            finally:
                await store.close()


async def test_a_host_that_takes_no_writes_is_not_the_one(server_of: ServerOf) -> None:
    async with server_of("debian").database() as dsn:
        connection = await asyncpg.connect(dsn, timeout=10)
        await connection.execute(
            f"ALTER DATABASE {urlsplit(dsn).path[1:]} SET default_transaction_read_only = on"
        )
        await connection.close(timeout=10)
        with pytest.raises(StoreUnavailable, match="no host of its address"):
            await PostgresStore(f"{dsn}?target_session_attrs=read-write").open()
