"""The rate of whole lives with 1,000,000 tasks waiting, over the rate with 1,000.

All of them fit and are alike, so that workers take the oldest while the load adds as many as end:
the line stays as long as it was. Each side has a master and a database of its own.
"""

from dataclasses import replace

from bench.cluster import lone_master
from bench.lifecycle import PLAIN, Flow, flow
from bench.report import Result
from bench.trial import Trial

SHORT = 1_000
LONG = 1_000_000
SLOTS = 20
SETTINGS = (
    f"the flow of lifecycle with {LONG} and with {SHORT} tasks waiting, "
    f"{PLAIN.workers} workers of {SLOTS} slots"
)


async def run(trial: Trial) -> Result:
    """Return `ratio`, both rates, and what the master used with the long line."""
    short = await with_backlog(trial, SHORT)
    long = await with_backlog(trial, trial.sized(LONG, least=SHORT))
    rates = {"rate_short": short["rate"], "rate_long": long["rate"]}
    return (
        {"ratio": long["rate"] / short["rate"]}
        | rates
        | {name: number for name, number in long.items() if name != "rate"}
    )


async def with_backlog(trial: Trial, waiting: int) -> Result:
    """Return the flow while as many tasks wait."""
    async with lone_master(trial.store) as master:
        return await flow(trial, master, long_line(waiting))


def long_line(waiting: int) -> Flow:
    """Return a flow in which as many tasks wait, besides those that have a slot."""
    return replace(PLAIN, slots=SLOTS, backlog=waiting + PLAIN.workers * SLOTS, filled=True)
