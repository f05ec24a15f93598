"""Coordination over each store, with a clock that tests move."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import ServerOf
from tests.coordination.ground import Ground, memory_ground, postgres_ground
from tests.postgres_servers import chosen_servers


@pytest.fixture(params=["memory", *chosen_servers()])
async def ground(request: pytest.FixtureRequest, server_of: ServerOf) -> AsyncIterator[Ground]:
    """Coordination that nobody has used yet; the test runs once on each kind of store."""
    if request.param == "memory":
        yield memory_ground()
        return
    async with postgres_ground(server_of(request.param)) as on_postgres:
        yield on_postgres


@pytest.fixture(params=chosen_servers())
async def pooled(request: pytest.FixtureRequest, server_of: ServerOf) -> AsyncIterator[Ground]:
    """Coordination over a pool of a program's own."""
    async with postgres_ground(server_of(request.param)) as on_postgres:
        yield on_postgres
