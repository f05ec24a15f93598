"""The rate of whole lives on a database whose every commit takes 5 ms longer, over the plain one.

The database sleeps (its setting commit_delay) before each write of its log to disk, as on a slow disk.
"""

import asyncpg

from bench.cluster import Master, lone_master
from bench.lifecycle import PLAIN, flow
from bench.report import Result
from bench.trial import Trial
from podling.core.errors import InvalidInput
from podling.store.postgres.embedded import EmbeddedPostgres

DELAY_MICROSECONDS = 5_000
SETTINGS = f"the flow of lifecycle with {DELAY_MICROSECONDS / 1000:g} ms added to every commit, and without"
STATEMENTS = (
    f"ALTER SYSTEM SET commit_delay = {DELAY_MICROSECONDS}",
    "ALTER SYSTEM SET commit_siblings = 0",
    "SELECT pg_reload_conf()",
)


async def run(trial: Trial) -> Result:
    """Return `ratio`, both rates, and what the master used with the slow database."""
    if trial.store != "postgres":
        raise InvalidInput("slow_commit needs --store postgres: only that commits to a disk")
    async with lone_master(trial.store) as master:
        plain = await flow(trial, master, PLAIN)
    async with lone_master(trial.store) as master:
        await _slow_down(master)
        slow = await flow(trial, master, PLAIN)
    rates = {"plain_rate": plain["rate"]}
    return {"ratio": slow["rate"] / plain["rate"]} | rates | slow


async def _slow_down(master: Master) -> None:
    database = EmbeddedPostgres(master.directory / "postgres")
    connection = await asyncpg.connect(await database.start())
    try:
        for statement in STATEMENTS:
            await connection.execute(statement)
    finally:
        await connection.close()
        await database.stop()
