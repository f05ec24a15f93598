"""Growth curves: the rate of whole lives by waiting tasks, idle nodes, working nodes and queues.

One of them grows at a time, all else is as in `lifecycle`. Each point has a master and a database of
its own, and a third of the time.
"""

from collections.abc import Iterator
from dataclasses import replace

from bench.backlog import long_line
from bench.cluster import lone_master
from bench.lifecycle import PLAIN, Flow, flow
from bench.report import Result
from bench.trial import Trial

CURVES = {
    "pending": (1_000, 10_000, 100_000),
    "nodes": (100, 1_000, 4_000),
    "workers": (1, 10, 100, 1_000),
    "queues": (1, 10, 100, 1_000),
}
SHARE = 1 / 3
SLOTS = PLAIN.workers * PLAIN.slots
SETTINGS = (
    "the flow of lifecycle by pending tasks, by idle nodes beside the working ones (nodes), "
    f"by working nodes that share {SLOTS} slots (workers), and by queues"
)


async def run(trial: Trial) -> Result:
    """Return a rate for each point, and the greatest lag of all of them."""
    short = replace(trial, seconds=trial.seconds * SHARE)
    rates, lags = {}, []
    for name, wanted in _points(trial):
        async with lone_master(trial.store) as master:
            result = await flow(short, master, wanted)
        rates[name] = result["rate"]
        lags.append(result["lag_ms_p99"])
    return rates | {"lag_ms_p99": max(lags)}


def _points(trial: Trial) -> Iterator[tuple[str, Flow]]:
    for name, numbers in CURVES.items():
        for number in dict.fromkeys(trial.sized(number) for number in numbers):
            yield f"{name}_{number}", _grown(name, number)


def _grown(name: str, number: int) -> Flow:
    match name:
        case "pending":
            return long_line(number)
        case "nodes":
            return replace(PLAIN, idle=number)
        case "workers":
            return replace(PLAIN, workers=number, slots=SLOTS // number)
        case _:
            return replace(PLAIN, queues=number)
