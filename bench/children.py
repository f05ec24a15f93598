"""Programs of the bench itself, each a process of its own that tells how it gets on."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

STEP_SECONDS = 0.25


class Child:
    """`python -m bench.<name>`; `latest` is the last line that it told, all the `waits` are kept."""

    def __init__(self, name: str, *flags: str) -> None:
        self._command = [sys.executable, "-m", f"bench.{name}", *flags]
        self.latest: dict[str, Any] = {}
        self.waits: list[float] = []

    async def __aenter__(self) -> "Child":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=1 << 26
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.latest = orjson.loads(line)
            self.waits += self.latest["waits"]

    def send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def told(self, name: str) -> int:
        return int(self.latest.get(name, 0))

    def check(self) -> None:
        """Raise if it has ended by itself."""
        if self._process.returncode is not None:
            raise RuntimeError(f"{self._command[2]} ended with exit code {self._process.returncode}")


async def steady(
    seconds: float, read: Callable[[], int], step: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Return by how much `read` grew a second over the time, and that time; `step` is called on the way."""
    begin, before = time.monotonic(), read()
    while time.monotonic() - begin < seconds:
        await asyncio.sleep(STEP_SECONDS)
        step()
    took = time.monotonic() - begin
    return (read() - before) / took, took


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Return how much memory the process has at the moment."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
