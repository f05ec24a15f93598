"""Tasks accepted per second in batches of 500, each batch answered after its commit.

By HTTP, or with `DOOR=sql` by the producer library: then what counts is what is committed into the inbox, and
`waiting` is how many of those the leader has not made tasks of at the end.
"""

import os

import asyncpg

from bench.children import Child
from bench.cluster import lone_master
from bench.report import Result, percentile
from bench.steady import farm, steady
from bench.submit import submits
from bench.trial import Trial
from podling.boot.database import running_database
from podling.core.errors import PodlingError

BATCH = 500
CONNECTIONS = 4
DOOR = os.environ.get("DOOR", "http")
SETTINGS = f"batches of {BATCH} over {CONNECTIONS} connections by {DOOR}, one node"
_FLAGS = ("--connections", str(CONNECTIONS), "--batch", str(BATCH))


async def run(trial: Trial) -> Result:
    """Return `rate` (tasks a second) and the answers' waits."""
    if DOOR == "http":
        return await submits(trial, *_FLAGS)
    if DOOR != "sql" or trial.store != "postgres":
        raise PodlingError("DOOR is http, or sql with the store postgres")
    return await _by_sql(trial)


async def _by_sql(trial: Trial) -> Result:
    async with (
        lone_master(trial.store) as master,
        farm(master, 1, 100, "--run-seconds", "inf") as node,
        running_database(f"embedded:{master.directory / 'postgres'}") as dsn,
        Child("sql_load", dsn, *_FLAGS) as load,
    ):

        async def go_on() -> None:
            node.check()
            load.check()

        result = await steady(trial, master, [load], lambda: load.told("accepted"), go_on)
        answers = load.waits["answer"]
        waits = {"p50_ms": percentile(answers, 50), "p99_ms": percentile(answers, 99)}
        return result | waits | {"waiting": await _waiting(dsn)}


async def _waiting(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM inbox"))
    finally:
        await connection.close()
