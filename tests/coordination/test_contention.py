"""Many that want one lock, in several programs: one holder at any time, tokens that grow, all served."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from podling.store.postgres.queries import load
from tests.conftest import ServerOf
from tests.coordination.ground import Ground, postgres_ground
from tests.postgres_servers import PostgresServer, chosen_servers
from tests.support import IN_SOAK

PROGRAMS = 3
CONTENDERS = 1000 if IN_SOAK else 99
PATIENCE = 600 if IN_SOAK else 90
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(server_of: ServerOf) -> PostgresServer:
    return server_of(chosen_servers()[0])


@pytest.mark.timeout(PATIENCE + 60)
async def test_exactly_one_holds_it_and_everybody_is_served(server: PostgresServer, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with server.emptied_database() as dsn:
        programs = [await _contend(dsn, ledger, CONTENDERS // PROGRAMS) for _ in range(PROGRAMS)]
        async with asyncio.timeout(PATIENCE):
            codes = await asyncio.gather(*(program.wait() for program in programs))
    assert codes == [0] * PROGRAMS
    lines = ledger.read_text().split("\n")[:-1]
    assert len(lines) == 2 * (CONTENDERS // PROGRAMS) * PROGRAMS
    tokens = [line.removeprefix("in ") for line in lines[::2]]
    assert lines[1::2] == [f"out {token}" for token in tokens], "somebody came in before another was out"
    numbers = [int(token) for token in tokens]
    assert numbers == sorted({*numbers})


async def test_a_waiter_that_died_is_passed_over(server: PostgresServer, tmp_path: Path) -> None:
    """The first in line is killed; the second one gets the lock when the first one's place has ended."""
    async with postgres_ground(server) as ground:
        locks = ground.coordination.locks
        held = await locks.acquire("wanted", 300)
        assert held is not None and ground.pool is not None
        dsn = await _dsn_of(ground, server)
        program = await _contend(dsn, tmp_path / "ledger", 1)
        await _in_line(ground, 1)
        program.kill()
        await program.wait()
        second = asyncio.create_task(locks.acquire("wanted", 300, wait_seconds=60))
        await _in_line(ground, 2)
        await held.release()
        async with asyncio.timeout(30):
            assert await second is not None
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize("before", [None, "clock_timestamp() - interval '1 second'"])
async def test_who_puts_second_is_not_told_that_it_was_first(
    server: PostgresServer, before: str | None
) -> None:
    """Neither where nothing was, nor where something has run out."""
    async with postgres_ground(server) as ground:
        assert ground.pool is not None
        if before is not None:
            await ground.pool.execute(f"INSERT INTO podling_cache VALUES ('k', '0', {before})")
        async with ground.pool.acquire() as connection:
            async with connection.transaction():
                first = await connection.fetchval(load("cache").put, "k", "1", None)
                second = asyncio.create_task(ground.coordination.cache.set("k", 2))
                await _one_waits(connection)
            assert (first, await second) == (True, False)
        assert await ground.coordination.cache.get("k") == 2


async def _one_waits(connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
    async with asyncio.timeout(30):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.02)


async def _contend(dsn: str, ledger: Path, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.coordination.contender", dsn, str(ledger), str(count)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


async def _dsn_of(ground: Ground, server: PostgresServer) -> str:
    assert ground.pool is not None
    return server.dsn_of(await ground.pool.fetchval("SELECT current_database()"))


async def _in_line(ground: Ground, count: int) -> None:
    assert ground.pool is not None
    async with asyncio.timeout(30):
        while await ground.pool.fetchval("SELECT count(*) FROM podling_lock_waiters") < count:
            await asyncio.sleep(0.02)
