"""Fixtures for what only PostgreSQL can do."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from shutil import rmtree

import asyncpg
import pytest

from podling.store.postgres.store import PostgresStore
from tests.conftest import ServerOf
from tests.postgres_servers import PostgresServer

Connection = asyncpg.Connection


@pytest.fixture(params=["embedded", "debian"])
def old_or_new_server(request: pytest.FixtureRequest, server_of: ServerOf) -> PostgresServer:
    """PostgreSQL 18 and Debian's 15."""
    return server_of(request.param)


@pytest.fixture
async def dsn(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The address of a database with Podling's tables."""
    async with postgres_server.database() as address:
        yield address


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    """An open store on that database."""
    opened = PostgresStore(dsn)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to that database, beside the store's own."""
    opened = await asyncpg.connect(dsn, timeout=10)
    try:
        yield opened
    finally:
        await opened.close(timeout=10)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="podling-embedded-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        rmtree(folder)
