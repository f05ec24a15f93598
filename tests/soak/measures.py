"""Numbers of a run: times by name, and what each program holds of the machine."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from bench.report import percentile

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Times:
    """Seconds by what was waited for; `probes` counts the tasks submitted only to measure.

    `engine_kills` are wall-clock times.
    """

    probes: int = 0
    engine_kills: list[float] = field(default_factory=list)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name].append(seconds)

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Note how long the block took, unless it raises."""
        begin = monotonic()
        yield
        self.add(name, monotonic() - begin)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return count, p50, p99 and the largest, by name."""
        return {name: summarised(numbers) for name, numbers in sorted(self.seconds.items())}


def summarised(numbers: Sequence[float]) -> dict[str, float]:
    """Return count, p50, p99 and the largest of at least one number."""
    return {
        "count": len(numbers),
        "p50": round(percentile(numbers, 50), 3),
        "p99": round(percentile(numbers, 99), 3),
        "max": round(max(numbers), 3),
    }


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program holds; `connections` are its sessions with PostgreSQL, None for a worker.

    `asyncio_tasks` are what it tells itself, None if it does not answer.
    """

    resident_mib: float
    descriptors: int
    threads: int
    connections: int | None
    age_minutes: float
    asyncio_tasks: int | None = None


def usage_of(
    pid: int, connections: int | None, age_seconds: float, asyncio_tasks: int | None = None
) -> Usage:
    """Read it from /proc. Raises OSError if the program is gone."""
    folder = Path(f"/proc/{pid}")
    pages = int((folder / "statm").read_text().split()[1])
    return Usage(
        resident_mib=round(pages * PAGE_BYTES / 2**20, 1),
        descriptors=len(os.listdir(folder / "fd")),
        threads=len(os.listdir(folder / "task")),
        connections=connections,
        age_minutes=round(age_seconds / 60, 1),
        asyncio_tasks=asyncio_tasks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far above its baseline a program may end.

    A master's pool lets go of connections only after minutes of rest, so all of them may be there.
    """

    resident_factor: float = 1.5
    resident_mib: float = 60.0
    descriptors: int = 16
    connections: int = 8
    asyncio_tasks: int = 30


def grown(before: Mapping[str, Usage], after: Mapping[str, Usage], bounds: Bounds) -> list[str]:
    """Return a sentence for everything that is not back at its baseline."""
    told = []
    for name, now in after.items():
        then = before.get(name)
        if then is None:
            continue
        most = max(then.resident_mib * bounds.resident_factor, then.resident_mib + bounds.resident_mib)
        if now.resident_mib > most:
            told.append(f"{name}: memory {then.resident_mib:g} MiB before, {now.resident_mib:g} MiB after")
        if now.descriptors > then.descriptors + bounds.descriptors:
            told.append(f"{name}: {then.descriptors} descriptors before, {now.descriptors} after")
        if (now.connections or 0) > (then.connections or 0) + bounds.connections:
            told.append(f"{name}: {then.connections} connections before, {now.connections} after")
        if (now.asyncio_tasks or 0) > (then.asyncio_tasks or 0) + bounds.asyncio_tasks:
            told.append(f"{name}: {then.asyncio_tasks} asyncio tasks before, {now.asyncio_tasks} after")
    return told


def as_dict(usage: Mapping[str, Usage]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in usage.items()}


def connections_of(port: int) -> int:
    """Count the established TCP connections to this loopback port."""
    count = 0
    with suppress(OSError):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            count += state == "01" and remote.endswith(f":{port:04X}")
    return count


ASYNCIO_TASKS = re.compile(r"^podling_(?:worker_)?asyncio_tasks ([0-9.]+)$", re.MULTILINE)


async def asyncio_tasks_of(url: str) -> int | None:
    """Ask the master or worker there how many tasks its event loop has; None if it does not answer."""
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{url}/metrics") as answer:
            found = ASYNCIO_TASKS.search(await answer.text())
            return None if found is None else int(float(found[1]))
    return None
