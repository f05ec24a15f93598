"""Ten thousand nodes with a session each, beating every 4 s, while 100,000 tasks of 50 shapes wait.

A node has one slot and each attempt runs for a while, so nearly all nodes are full, and all the time
some of them get room, for which the planner looks among the waiting. Nothing ends before all of that
is there.
"""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from bench.children import Child, until
from bench.cluster import Master, lone_master
from bench.metrics import quantile_between
from bench.report import Result
from bench.steady import farm, fill, steady, waits
from bench.trial import Trial

NODES = 10_000
PROCESSES = 10
PENDING = 100_000
SHAPES = 50
RUN_SECONDS = 20.0
CONNECT_SECONDS = 600.0
PLAN = "podling_plan_seconds"
PASS = "podling_loop_pass_seconds"
SETTINGS = (
    f"{NODES} nodes in {PROCESSES} processes, {PENDING} tasks of {SHAPES} shapes pending, "
    f"one slot a node, attempts of {RUN_SECONDS:g} s"
)


async def run(trial: Trial) -> Result:
    """Return `missed_beats`, `plan_ms_p99` and what else nodes and planner went through."""
    async with lone_master(trial.store) as master, AsyncExitStack() as stack:
        farms = [await stack.enter_async_context(one) for one in _farms(trial, master)]
        nodes, pending = len(farms) * _nodes_each(trial), trial.sized(PENDING)

        async def check() -> None:
            for one in farms:
                one.check()

        def connected() -> bool:
            return _told(farms, "connected") >= nodes

        begin = master.clock()
        await until(connected, CONNECT_SECONDS, check, f"{nodes} nodes")
        there = master.clock()
        await fill(master, nodes + pending, "--shapes", str(SHAPES), step=check)
        before = {"connect_seconds": there - begin, "fill_seconds": master.clock() - there}
        for one in farms:
            one.send("go")
        return await _measure(trial, master, farms) | before


def _nodes_each(trial: Trial) -> int:
    return trial.sized(NODES // PROCESSES)


def _farms(trial: Trial, master: Master) -> Iterator[Child]:
    run_seconds = min(RUN_SECONDS, trial.seconds / 3)
    for number in range(min(PROCESSES, trial.sized(PROCESSES, least=2))):
        flags = ("--prefix", f"sim-{number}", "--run-seconds", str(run_seconds), "--held")
        yield farm(master, _nodes_each(trial), 1, *flags)


def _told(farms: Sequence[Child], name: str) -> int:
    return sum(one.told(name) for one in farms)


async def _measure(trial: Trial, master: Master, farms: Sequence[Child]) -> Result:
    flags = ["--batch", "100", "--limit", "0", "--shapes", str(SHAPES)]
    async with Child("load", "--port", str(master.port), *flags) as load:
        begun = _told(farms, "ended")

        async def go_on() -> None:
            load.send(f"limit {_told(farms, 'ended') - begun}")

        before, missed, lost = await master.reading(), _told(farms, "missed"), _told(farms, "lost")
        result = await steady(trial, master, farms, lambda: _told(farms, "ended"), go_on)
        after = await master.reading()
    return result | {
        "nodes": _told(farms, "connected"),
        "missed_beats": _told(farms, "missed") - missed,
        "sessions_lost": _told(farms, "lost") - lost,
        "plan_ms_p99": quantile_between(before, after, 0.99, PLAN) * 1000,
        "pass_ms_p99": quantile_between(before, after, 0.99, PASS, loop="scheduler") * 1000,
        **waits("beat", [wait for one in farms for wait in one.waits["beat"]]),
    }
