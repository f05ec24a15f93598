"""Where the time goes in the two most important scenarios: py-spy looks on during their steady state.

`make bench SCENARIO=profile` writes a table and flame graphs into docs/. The rates of such a run mean
nothing, since looking on takes time as well.
"""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import functions, lifecycle
from bench.cluster import Cluster, Master
from bench.flame import draw
from bench.render import PAGE, around
from bench.report import Result
from bench.stacks import by_part, own, parse
from bench.trial import Trial
from bench.usage import cpu_by_name, postmaster
from podling.core.errors import PodlingError

BEGIN = "<!-- what the profiler has seen: written by make bench SCENARIO=profile -->"
END = "<!-- the end of what the profiler has seen -->"
A_SECOND = 100
MOST_FUNCTIONS = 12
LEAST_PART = 0.01
STOP_SECONDS = 60.0
ENDED = "podling_task_transitions_total"
FLOWS: Mapping[str, Callable[[Trial], Awaitable[Result]]] = {
    "lifecycle": lifecycle.run,
    "functions": functions.by_podling,
}

Stacks = Mapping[tuple[str, ...], int]


@dataclass
class Seen:
    """What was seen of one scenario: stacks by program, and the CPU time of each part for a task."""

    scenario: str
    stacks: dict[str, Stacks] = field(default_factory=dict)
    microseconds: dict[str, float] = field(default_factory=dict)


async def profile(scenario: str, trial: Trial) -> Seen:
    """Run the scenario, and look on."""
    seen = Seen(scenario)

    @asynccontextmanager
    async def beside(master: Master) -> AsyncIterator[None]:
        programs = _programs(master)
        roots = programs | _database(master)
        async with AsyncExitStack() as stack:
            files = [await stack.enter_async_context(_spy(name, pid)) for name, pid in programs.items()]
            used, ended = cpu_by_name(roots), await _ended(master)
            yield
            spent, count = cpu_by_name(roots), await _ended(master) - ended
        seen.microseconds = {name: 1e6 * (spent[name] - used[name]) / count for name in roots}
        seen.stacks = {name: parse(file.read_text()) for name, file in zip(programs, files, strict=True)}

    await FLOWS[scenario](replace(trial, beside=beside))
    return seen


def _programs(master: Master) -> dict[str, int]:
    worker = {"worker": master.worker.pid} if isinstance(master, Cluster) else {}
    return {"master": master.program.pid} | worker


def _database(master: Master) -> dict[str, int]:
    found = postmaster(master.directory)
    return {} if found is None else {"PostgreSQL": found}


async def _ended(master: Master) -> float:
    return (await master.reading()).total(ENDED, after="completed")


@asynccontextmanager
async def _spy(name: str, pid: int) -> AsyncIterator[Path]:
    """Have py-spy look at a program and those that it has started; its file is whole afterwards."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise PodlingError("py-spy is not there: make setup installs it")
    file = Path(f"/proc/{pid}/cwd").resolve() / f"{name}.folded"
    process = await asyncio.create_subprocess_exec(
        *(program, "record", "--pid", str(pid), "--rate", str(A_SECOND), "--nonblocking", "--function"),
        *("--subprocesses",) * (name == "worker"),
        *("--format", "raw", "--output", str(file), "--duration", "unlimited"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield file
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_SECONDS):
            _, told = await process.communicate()
        if not file.exists():
            raise PodlingError(f"py-spy saw nothing of the {name}; it says: {told.decode(errors='replace')}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def write(docs: Path, seen: Sequence[Seen], where: str) -> None:
    """Replace what lies between the markers of the page, and the flame graphs beside it."""
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    for one in seen:
        for program, stacks in one.stacks.items():
            title = f"{program} under {one.scenario}: width is time, what lies below was called from above"
            (folder / _picture(one, program)).write_text(draw(stacks, title))
    before, after = around(docs, BEGIN, END)
    text = "\n\n".join(_section(one) for one in seen)
    (docs / PAGE).write_text(f"{before}{BEGIN}\n\n{where}\n\n{text}\n\n{END}{after}")


def _picture(seen: Seen, program: str) -> str:
    return f"profile-{seen.scenario}-{program}.svg"


def _section(seen: Seen) -> str:
    costs = ", ".join(f"{name} {number:.0f} µs" for name, number in seen.microseconds.items())
    total = sum(seen.microseconds.values())
    tables = [_table(seen, program, stacks) for program, stacks in seen.stacks.items()]
    return "\n\n".join([f"**`{seen.scenario}`**: CPU for a task {costs}, {total:.0f} µs in all.", *tables])


def _table(seen: Seen, program: str, stacks: Stacks) -> str:
    parts = ", ".join(f"`{name}` {share:.0%}" for name, share in by_part(stacks) if share >= LEAST_PART)
    rows = [f"| `{name}` | {share:.1%} |" for name, share in own(stacks)[:MOST_FUNCTIONS]]
    picture = f"![flame graph](benchmarks/{_picture(seen, program)})"
    lines = [f"| own time of the {program} | share |", "|---|---|", *rows]
    return "\n".join([f"The {program} by package: {parts}.", "", *lines, "", picture])
