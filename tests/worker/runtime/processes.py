"""What tests of processes share."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from podling.core.spec import ContainerSpec
from podling.worker.runtime.process import ProcessRuntime
from tests.worker.runtime.recorder import DEADLINE_SECONDS


def runtime_in(folder: Path) -> ProcessRuntime:
    return ProcessRuntime(folder, allow_root_processes=True, linger_seconds=0.2)


def shell(script: str, **options: object) -> ContainerSpec:
    return replace(ContainerSpec(command=("sh", "-c"), args=(script,)), **options)  # type: ignore[arg-type]


def keeper_of(folder: Path) -> int:
    """Return the pid of the keeper: the one that holds the lock."""
    inode = (folder / "processes" / "keeper.lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return int(fields[4])
    raise AssertionError("no keeper holds the lock")


async def ended(pid: int) -> None:
    """Wait until a process that is nobody's child here has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await asyncio.wait_for(over.wait(), DEADLINE_SECONDS)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def first_line(runtime: ProcessRuntime, container_id: str) -> str:
    """Follow the output until the process has said something."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for record in runtime.logs(container_id, follow=True):
            return record.data.decode().strip()
    raise AssertionError("it said nothing")
