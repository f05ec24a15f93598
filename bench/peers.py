"""Other durable queues beside Podling in the same run: jobs that do nothing, submitted and ended.

Each has a PostgreSQL of its own with the same settings, a submitter and workers in processes of their
own, and as many jobs ahead at most. Podling's side is the flow of `lifecycle`, with a start and an end
for every task; the others know no placement.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from bench.children import ROOT, Child, keep_on, until
from bench.cluster import lone_master
from bench.lifecycle import PLAIN, flow
from bench.report import Result
from bench.trial import Trial
from podling.core.errors import InvalidInput, PodlingError
from podling.store.postgres.embedded import EmbeddedPostgres

LIBRARIES = ("pgqueuer", "procrastinate")
PINNED = (
    "pgqueuer==1.6.0",
    "asyncpg==0.32.0",
    "procrastinate==3.10.0",
    "psycopg[binary]==3.3.9",
    "uvloop==0.23.0",
    "orjson==3.13.0",
)
ENVIRONMENT = ROOT / "var" / "bench-peers"
WORKERS = 2
FIRST_SECONDS = 60.0
PREPARE_SECONDS = 600.0
SETTINGS = (
    f"a no-op job, {WORKERS} worker processes each, {PLAIN.backlog} jobs ahead; {', '.join(PINNED[:4])}"
)


async def run(trial: Trial) -> Result:
    """Return each one's rate, and Podling's over it."""
    if trial.store != "postgres":
        raise InvalidInput("peers needs --store postgres: that is what the others keep jobs in")
    pythons = await prepare()
    async with lone_master(trial.store) as master:
        ours = (await flow(trial, master, PLAIN))["rate"]
    rates = {name: await measure(trial, name, python) for name, python in pythons.items()}
    return {
        "podling_rate": ours,
        **{f"{name}_rate": rate for name, rate in rates.items()},
        **{f"ratio_{name}": ours / rate for name, rate in rates.items()},
    }


async def prepare() -> dict[str, Path]:
    """Make the virtual environment of the others, unless it is there with these versions.

    Returns each one's interpreter.
    """
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "pinned"
    if not (stamp.exists() and stamp.read_text().split("\n") == list(PINNED)):
        await _call(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
        await _call(str(python), "-m", "pip", "install", "--quiet", *PINNED)
        stamp.write_text("\n".join(PINNED))
    return dict.fromkeys(LIBRARIES, python)


async def _call(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, start_new_session=True)
    try:
        async with asyncio.timeout(PREPARE_SECONDS):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code:
        raise PodlingError(f"{' '.join(command[:5])} … ended with exit code {code}")


@asynccontextmanager
async def _database() -> AsyncIterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="podling-bench-"))
    directory.chmod(0o755)
    database = EmbeddedPostgres(directory / "postgres")
    try:
        yield await database.start()
    finally:
        await database.stop()
        shutil.rmtree(directory, ignore_errors=True)


async def measure(
    trial: Trial, name: str, python: Path, workers: int = WORKERS, backlog: int = PLAIN.backlog
) -> float:
    """Return how many jobs a second this one ends."""
    async with _database() as dsn, AsyncExitStack() as stack:
        await _call(str(python), "-m", "bench.peer", name, "install", dsn)

        async def start(role: str) -> Child:
            return await stack.enter_async_context(Child("peer", name, role, dsn, python=python))

        working = [await start("work") for _ in range(workers)]
        submitter = await start("submit")

        async def go_on() -> None:
            for worker in working:
                worker.check()
            submitter.send(f"limit {_ended(working) + backlog}")

        await until(lambda: _ended(working) > 0, FIRST_SECONDS, go_on, f"any jobs of {name} done")
        await keep_on(trial.warm_up, go_on)
        await _analyze(dsn)  # or their statements go on by plans for empty tables
        before = _ended(working)
        took = await keep_on(trial.seconds, go_on)
        return (_ended(working) - before) / took


async def _analyze(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def _ended(workers: Sequence[Child]) -> int:
    return sum(worker.told("ended") for worker in workers)
