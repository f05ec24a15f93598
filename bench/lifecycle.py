"""Whole lives of tasks per second: submitted, scheduled, started and ended, each step committed.

Simulated workers end at once what they are given and report it, start and end together. The load
submits in batches by HTTP and stays a bounded number of tasks ahead of the ends.
"""

from bench.children import Child, cpu_seconds, resident_megabytes, steady
from bench.cluster import lone_master
from bench.report import Result, percentile

WORKERS = 100
SLOTS = 100
BATCH = 100
CONNECTIONS = 4
BACKLOG = 5_000
WARM_UP_SECONDS = 10.0
STEADY_SECONDS = 60.0
SETTINGS = (
    f"{WORKERS} simulated workers of {SLOTS} slots, batches of {BATCH} over {CONNECTIONS} connections, "
    f"backlog up to {BACKLOG}, {WARM_UP_SECONDS:g} s to warm up, {STEADY_SECONDS:g} s measured"
)


async def run(store: str) -> Result:
    """Return `rate` (tasks a second), the reports' waits, and what the master used."""
    async with lone_master(store) as master:
        flags = ["--connections", str(CONNECTIONS), "--batch", str(BATCH), "--limit", str(BACKLOG)]
        async with (
            Child("farm", "--master", master.url, "--workers", str(WORKERS), "--slots", str(SLOTS)) as farm,
            Child("load", "--port", str(master.port), *flags) as load,
        ):

            def go_on() -> None:
                farm.check()
                load.check()
                load.send(f"limit {farm.told('ended') + BACKLOG}")

            await steady(WARM_UP_SECONDS, lambda: farm.told("ended"), go_on)
            farm.waits.clear()
            used = cpu_seconds(master.program.pid)
            rate, took = await steady(STEADY_SECONDS, lambda: farm.told("ended"), go_on)
            return {
                "rate": rate,
                "report_ms_p50": percentile(farm.waits, 50),
                "report_ms_p99": percentile(farm.waits, 99),
                "master_cpu": (cpu_seconds(master.program.pid) - used) / took,
                "master_mb": resident_megabytes(master.program.pid),
                "refused": load.told("refused"),
            }
