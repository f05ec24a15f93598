"""A whole worker in this process, on a runtime in memory and a small master."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from podling.core.protocol import Assignment
from podling.core.spec import ContainerSpec, TaskSpec
from podling.kit.clock import SystemClock
from podling.wire.session import Assign
from podling.worker.datadir import DataDirectory
from podling.worker.journal import Journal
from podling.worker.options import WorkerOptions
from podling.worker.runtime.base import Runtime
from podling.worker.worker import Worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster, small_master

AnyRuntime = MemoryRuntime | Callable[[str], Runtime]  # of a cluster's id


def assignment(task_id: str = "t1", attempt: int = 1, **spec: Any) -> Assignment:
    containers = spec.pop("containers", (ContainerSpec(image="busybox:local"),))
    return Assignment(
        task_id=task_id, attempt=attempt, spec=TaskSpec(name="job", containers=containers, **spec)
    )


def options(*urls: str, **fields: Any) -> WorkerOptions:
    defaults: dict[str, Any] = {
        "node_id": "node-1",
        "instance": "instance-1",
        "hostname": "host-1",
        "host": "127.0.0.1",
        "port": 0,
        "master_urls": urls,
        "capacity": {"cpu": 4000, "memory": 1 << 33, "slots": 16},
        "allocatable": {"cpu": 3800, "memory": 1 << 32, "slots": 16},
        "labels": {},
        "runtimes": ("docker",),
        "heartbeat_interval": None,
        "shutdown_timeout": 5.0,
        "token": None,
        "version": "test",
    }
    return WorkerOptions(**(defaults | fields))


@asynccontextmanager
async def opened_worker(
    directory: Path, runtime: AnyRuntime, *urls: str, **fields: Any
) -> AsyncIterator[Worker]:
    """Give a worker that does not run yet."""

    def runtimes(cluster_id: str) -> dict[str, Runtime]:
        return {"docker": runtime if isinstance(runtime, MemoryRuntime) else runtime(cluster_id)}

    data = DataDirectory.open(directory)
    journal = Journal.open(data)
    try:
        yield Worker(options(*urls, **fields), data, journal, runtimes, SystemClock())
    finally:
        await journal.close()
        data.close()


@asynccontextmanager
async def running_worker(
    directory: Path, runtime: AnyRuntime, *urls: str, crash: bool = False, **fields: Any
) -> AsyncIterator[Worker]:
    """Run a worker for the length of the block; then stop it, or let it end as by kill -9."""
    async with opened_worker(directory, runtime, *urls, **fields) as worker:
        running = asyncio.create_task(worker.run())
        try:
            yield worker
            if not crash:
                worker.stop()
                async with asyncio.timeout(10.0):
                    await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def start(master: SmallMaster, runtime: MemoryRuntime, **spec: object) -> str:
    """Have task t1 run, and return its container."""
    await connected(master)
    await master.send(Assign(items=(assignment(**spec),)))
    await master.running()
    return runtime.one()


async def connected(master: SmallMaster) -> None:
    await master.until("the worker is connected", lambda: master.beats)


@pytest.fixture
def runtime() -> MemoryRuntime:
    return MemoryRuntime()


@pytest.fixture
async def master() -> AsyncIterator[SmallMaster]:
    async with small_master() as master:
        yield master
