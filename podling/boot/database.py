"""A database by its address: somebody's server, or the embedded one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def running_database(url: str) -> AsyncIterator[str]:
    """Give a DSN for asyncpg. An `embedded:DIR` runs meanwhile, and is brought back when it dies.

    Raises ConfigurationError, StoreUnavailable.
    """
    from podling.store.postgres.embedded import EmbeddedPostgres, embedded_directory

    directory = embedded_directory(url)
    if directory is None:
        yield url
        return
    server = EmbeddedPostgres(directory)
    dsn = await server.start()
    keeper = asyncio.create_task(server.keep_running(), name="embedded database")
    try:
        yield dsn
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await server.stop()
