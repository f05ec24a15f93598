"""Whole lives of tasks per second: submitted, scheduled, started and ended, each step committed.

Simulated workers end at once what they are given and report it, start and end together. The load
submits in batches by HTTP and stays a bounded number of tasks ahead of the ends.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.children import Child
from bench.cluster import Master, lone_master
from bench.report import Result
from bench.steady import farm, fill, steady, waits
from bench.trial import Trial


@dataclass(frozen=True)
class Flow:
    """`backlog` tasks wait or run at most; `filled` says that they wait before the first worker comes.

    `idle` nodes are connected as well, and have no room.
    """

    workers: int = 100
    slots: int = 100
    batch: int = 100
    connections: int = 4
    backlog: int = 5_000
    filled: bool = False
    idle: int = 0
    queues: int = 1


PLAIN = Flow()
SETTINGS = (
    f"{PLAIN.workers} simulated workers of {PLAIN.slots} slots, batches of {PLAIN.batch} "
    f"over {PLAIN.connections} connections, backlog up to {PLAIN.backlog}"
)


async def run(trial: Trial) -> Result:
    """Return `rate` (tasks a second), the reports' waits, and what the master used."""
    async with lone_master(trial.store) as master:
        return await flow(trial, master, PLAIN)


async def flow(trial: Trial, master: Master, wanted: Flow) -> Result:
    """Have tasks flow through a master that runs, and measure them."""
    queues = ["--queues", str(wanted.queues)]
    if wanted.filled:
        await fill(master, wanted.backlog, *queues)
    ahead = 0 if wanted.filled else wanted.backlog
    flags = ["--connections", str(wanted.connections), "--batch", str(wanted.batch), *queues]
    async with AsyncExitStack() as stack:
        if wanted.idle:
            await stack.enter_async_context(farm(master, wanted.idle, 0, "--prefix", "idle"))
        working = await stack.enter_async_context(farm(master, wanted.workers, wanted.slots))
        load = await stack.enter_async_context(
            Child("load", "--port", str(master.port), "--limit", str(ahead), *flags)
        )

        async def go_on() -> None:
            working.check()
            load.send(f"limit {working.told('ended') + ahead}")

        result = await steady(trial, master, [working], lambda: working.told("ended"), go_on)
        return result | waits("report", working.waits["report"]) | {"refused": load.told("refused")}
