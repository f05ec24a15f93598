"""Functions that do nothing, submitted and run together, beside other queues in the same run.

One worker runs them in its child processes; the load submits in batches by HTTP and stays a bounded
number of tasks ahead of the ends. The others have one worker process and a submitter each, and a
PostgreSQL of their own with the same settings. `*_us` is the CPU time of each part for one task, which
says more than a rate where the machine has other work.
"""

from bench.children import Child
from bench.cluster import Cluster, cluster
from bench.noop import JOB_TYPE
from bench.peers import measure, prepare
from bench.report import Result
from bench.steady import READING_SECONDS, steady
from bench.trial import Trial
from bench.usage import cpu_by_name, postmaster

SPEC = f'{{"runtime": "python", "image": null, "handler": "{JOB_TYPE}"}}'
BATCH = 100
CONNECTIONS = 2
BACKLOG = 5_000
CAPACITY = 10_000
ENDED = "podling_task_transitions_total"
WORKER = ("--runtime", "python", "--handlers", "bench.noop", "--capacity", str(CAPACITY))
SETTINGS = (
    f"a no-op function, one worker of {CAPACITY} slots, batches of {BATCH} over {CONNECTIONS} connections, "
    f"backlog up to {BACKLOG}; the others with one worker process each"
)


async def run(trial: Trial) -> Result:
    """Return `rate`, the CPU time of each part for a task, and the others' rates if there is a PostgreSQL."""
    result = await by_podling(trial)
    if trial.store != "postgres":
        return result
    for name, python in (await prepare()).items():
        rate = await measure(trial, name, python, workers=1, backlog=BACKLOG)
        result |= {f"{name}_rate": rate, f"ratio_{name}": result["rate"] / rate}
    return result


async def by_podling(trial: Trial) -> Result:
    """Return `rate`, and the CPU time of each part for a task."""
    async with cluster(trial.store, *WORKER) as started:
        flags = ["--connections", str(CONNECTIONS), "--batch", str(BATCH), "--spec", SPEC]
        async with Child("load", "--port", str(started.port), "--limit", str(BACKLOG), *flags) as load:
            ended = failed = 0.0
            begun: dict[str, float] = {}

            async def go_on() -> None:
                nonlocal ended, failed
                reading = await started.reading()
                ended = reading.total(ENDED, after="completed")
                failed = reading.total(ENDED, after="failed")
                load.send(f"limit {int(ended + failed) + BACKLOG}")

            def begin() -> None:
                begun.update(_used(started, load), ended=ended)

            result = await steady(trial, started, [load], lambda: ended, go_on, begin, READING_SECONDS)
            spent = {name: seconds - begun[name] for name, seconds in _used(started, load).items()}
            each = {f"{name}_us": 1e6 * seconds / (ended - begun["ended"]) for name, seconds in spent.items()}
            return result | each | {"failed": failed, "refused": load.told("refused")}


def _used(started: Cluster, load: Child) -> dict[str, float]:
    """Return the seconds used so far by master, worker with its children, database and load."""
    roots = {"master": started.program.pid, "worker": started.worker.pid, "load": load.pid}
    if (database := postmaster(started.directory)) is not None:
        roots["postgres"] = database
    return cpu_by_name(roots)
