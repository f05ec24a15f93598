"""Single submits per second over 32 connections, each answered after its commit, with a node connected.

The node is full after its first tasks, so nearly all of them stay pending.
"""

from bench.children import Child
from bench.cluster import lone_master
from bench.report import Result, percentile
from bench.steady import farm, steady
from bench.trial import Trial

CONNECTIONS = 32
SETTINGS = f"{CONNECTIONS} connections, an idempotency key each, one node"


async def run(trial: Trial) -> Result:
    """Return `rate` (tasks a second) and the answers' waits."""
    return await submits(trial, "--connections", str(CONNECTIONS), "--keyed")


async def submits(trial: Trial, *flags: str) -> Result:
    """Have the load submit with these flags, as fast as it can."""
    async with (
        lone_master(trial.store) as master,
        farm(master, 1, 100, "--run-seconds", "inf") as node,
        Child("load", "--port", str(master.port), *flags) as load,
    ):

        async def go_on() -> None:
            node.check()
            load.check()

        result = await steady(trial, master, [load], lambda: load.told("accepted"), go_on)
        answers = load.waits["answer"]
        return result | {
            "p50_ms": percentile(answers, 50),
            "p99_ms": percentile(answers, 99),
            "refused": load.told("refused"),
        }
