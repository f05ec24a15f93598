"""Single submits per second over 32 connections, each answered after its commit, with a node connected.

The node is full after its first tasks, so nearly all of them stay pending.
"""

from bench.children import Child, cpu_seconds, steady
from bench.cluster import lone_master
from bench.report import Result, percentile

BATCH = 1
CONNECTIONS = 32
WARM_UP_SECONDS = 5.0
STEADY_SECONDS = 60.0
SETTINGS = f"{CONNECTIONS} connections, an idempotency key each, one node, {STEADY_SECONDS:g} s measured"


async def run(store: str, batch: int = BATCH, connections: int = CONNECTIONS) -> Result:
    """Return `rate` (tasks a second) and the answers' waits."""
    async with lone_master(store) as master:
        flags = ["--connections", str(connections), "--batch", str(batch)]
        flags += ["--keyed"] if batch == 1 else []
        async with (
            Child("farm", "--master", master.url, "--workers", "1", "--holds") as farm,
            Child("load", "--port", str(master.port), *flags) as load,
        ):

            def go_on() -> None:
                farm.check()
                load.check()

            await steady(WARM_UP_SECONDS, lambda: load.told("accepted"), go_on)
            load.waits.clear()
            used = cpu_seconds(master.program.pid)
            rate, took = await steady(STEADY_SECONDS, lambda: load.told("accepted"), go_on)
            return {
                "rate": rate,
                "p50_ms": percentile(load.waits, 50),
                "p99_ms": percentile(load.waits, 99),
                "master_cpu": (cpu_seconds(master.program.pid) - used) / took,
                "refused": load.told("refused"),
            }
