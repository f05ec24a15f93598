"""Locks acquired and released by the library, over pairs of bare single-row statements by asyncpg.

Both sides have as many connections to the same PostgreSQL, a row each, and take turns: so that whatever
else the machine does meanwhile happens to both.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.report import Result
from bench.trial import Trial
from podling.coordination import over_pool
from podling.core.errors import InvalidInput
from podling.store.postgres.embedded import EmbeddedPostgres

CONNECTIONS = 4
TURN_SECONDS = 1.0
TABLE = "CREATE TABLE bare (key text PRIMARY KEY, count bigint NOT NULL) WITH (fillfactor = 50)"
ROWS = "INSERT INTO bare SELECT 'key ' || number, 0 FROM generate_series(0, $1::int) AS number"
RAISE = "UPDATE bare SET count = count + 1 WHERE key = $1 RETURNING count"
LOWER = "UPDATE bare SET count = count - 1 WHERE key = $1 RETURNING count"
SETTINGS = f"{CONNECTIONS} connections with a key each, turns of {TURN_SECONDS:g} s"

Pair = Callable[[int], Awaitable[object]]


async def run(trial: Trial) -> Result:
    """Return `ratio`, and both rates: pairs a second."""
    if trial.store != "postgres":
        raise InvalidInput("locks needs --store postgres: bare statements need one")
    async with _database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
        bare = [await asyncpg.connect(dsn) for _ in range(CONNECTIONS)]
        await bare[0].execute(TABLE)
        await bare[0].execute(ROWS, CONNECTIONS)
        async with over_pool(pool) as coordination:

            async def locked(number: int) -> None:
                lock = await coordination.locks.acquire(f"key {number}")
                assert lock is not None
                await lock.release()

            async def stated(number: int) -> None:
                await bare[number].fetchrow(RAISE, f"key {number}")
                await bare[number].fetchrow(LOWER, f"key {number}")

            result = await _in_turns(trial, locked, stated)
        for connection in bare:
            await connection.close()
        await pool.close()
    return result


async def _in_turns(trial: Trial, locked: Pair, stated: Pair) -> Result:
    turn = min(TURN_SECONDS, trial.seconds / 4)
    for pair in (locked, stated):
        await _pairs(pair, max(trial.warm_up / 2, turn))
    ours = bare = 0
    turns = max(1, round(trial.seconds / turn / 2))
    for _ in range(turns):
        ours += await _pairs(locked, turn)
        bare += await _pairs(stated, turn)
    return {"ratio": ours / bare, "rate": ours / turns / turn, "raw_rate": bare / turns / turn}


async def _pairs(pair: Pair, seconds: float) -> int:
    """Return how many were done in this time."""
    end = time.perf_counter() + seconds

    async def again_and_again(number: int) -> int:
        done = 0
        while time.perf_counter() < end:
            await pair(number)
            done += 1
        return done

    return sum(await asyncio.gather(*(again_and_again(number) for number in range(CONNECTIONS))))


@asynccontextmanager
async def _database() -> AsyncIterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="podling-bench-"))
    directory.chmod(0o755)
    database = EmbeddedPostgres(directory / "postgres")
    try:
        yield await database.start()
    finally:
        await database.stop()
        shutil.rmtree(directory, ignore_errors=True)
