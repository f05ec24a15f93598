"""The frame of every scenario under load: warm up, then measure a steady state."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bench.children import STEP_SECONDS, Child, Step, cpu_seconds, keep_on, resident_bytes, until
from bench.cluster import Master
from bench.metrics import quantile_between
from bench.report import Result, percentile
from bench.trial import Trial

FIRST_SECONDS = 120.0
READING_SECONDS = 0.5  # a reading costs the master some milliseconds of its loop
LAG = "podling_loop_lag_seconds"
FILL_BATCH = 500
FILL_CONNECTIONS = 4
FILLED_A_SECOND = 500  # the least that is waited for


@asynccontextmanager
async def watched(master: Master) -> AsyncIterator[dict[str, float]]:
    """Fill the result afterwards with what the master used, and how late its event loop was."""
    result: dict[str, float] = {}
    before, used, begin = await master.reading(), cpu_seconds(master.program.pid), master.clock()
    yield result
    after, took = await master.reading(), master.clock() - begin
    result["lag_ms_p99"] = quantile_between(before, after, 0.99, LAG) * 1000
    result["master_cpu"] = (cpu_seconds(master.program.pid) - used) / took
    result["master_mb"] = resident_bytes(master.program.pid) / 2**20


async def steady(
    trial: Trial,
    master: Master,
    children: Sequence[Child],
    done: Callable[[], float],
    step: Step,
    begin: Callable[[], None] = lambda: None,
    every: float = STEP_SECONDS,
) -> Result:
    """Return by how much `done` grew a second (`rate`), and what the master used.

    The children's waits are those of the steady state alone; `begin` is called when it begins.
    """
    await until(lambda: done() > 0, FIRST_SECONDS, step, "any tasks done")
    await keep_on(trial.warm_up, step, every)
    for child in children:
        child.waits.clear()
    async with trial.beside(master), watched(master) as used:
        begin()
        before = done()
        took = await keep_on(trial.seconds, step, every)
        rate = (done() - before) / took
    return {"rate": rate} | used


def farm(master: Master, workers: int, slots: int, *flags: str) -> Child:
    """Return a process of simulated workers, to be started as a context."""
    return Child("farm", "--master", master.url, "--workers", str(workers), "--slots", str(slots), *flags)


def waits(name: str, numbers: Sequence[float]) -> Result:
    """Return the median and the 99th percentile of milliseconds."""
    return {f"{name}_ms_p50": percentile(numbers, 50), f"{name}_ms_p99": percentile(numbers, 99)}


async def fill(master: Master, count: int, *flags: str, step: Step | None = None) -> None:
    """Have as many tasks submitted as fast as it goes."""
    batch = min(FILL_BATCH, count)
    rounded = -(-count // batch) * batch
    shared = ["--port", str(master.port), "--limit", str(rounded), "--batch", str(batch)]
    async with Child("load", *shared, "--connections", str(FILL_CONNECTIONS), *flags) as load:

        async def go_on() -> None:
            load.check()
            if step is not None:
                await step()

        seconds = 60 + rounded / FILLED_A_SECOND
        await until(lambda: load.told("accepted") >= rounded, seconds, go_on, f"{rounded} tasks accepted")
