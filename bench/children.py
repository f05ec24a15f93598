"""Programs of the bench itself, each a process of its own that tells how it gets on."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from podling.core.errors import PodlingError

STEP_SECONDS = 0.25
LINE_BYTES = 1 << 26
ROOT = Path(__file__).parent.parent


class Child:
    """`python -m bench.<name>`, by that interpreter. `told` reads its last line; `waits` are kept by name."""

    def __init__(self, name: str, *flags: str, python: Path | str = sys.executable) -> None:
        self._name = name
        self._python = python
        self._flags = flags
        self._latest: dict[str, Any] = {}
        self.waits: defaultdict[str, list[float]] = defaultdict(list)

    async def __aenter__(self) -> "Child":
        pipe = asyncio.subprocess.PIPE
        # Its own session keeps the terminal's Ctrl-C away; it ends with its standard input.
        self._process = await asyncio.create_subprocess_exec(
            self._python, "-m", f"bench.{self._name}", *self._flags,
            stdin=pipe, stdout=pipe, limit=LINE_BYTES, start_new_session=True, cwd=ROOT,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._latest = orjson.loads(line)
            for name, waits in self._latest["waits"].items():
                self.waits[name] += waits

    def send(self, line: str) -> None:
        """Give an order. Raises PodlingError if the program has ended by itself."""
        self.check()
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def told(self, name: str) -> int:
        return int(self._latest.get(name, 0))

    def check(self) -> None:
        """Raise PodlingError if it has ended by itself."""
        if self._process.returncode is not None:
            raise PodlingError(f"bench.{self._name} ended with exit code {self._process.returncode}")


Step = Callable[[], Awaitable[None]]


async def keep_on(seconds: float, step: Step, every: float = STEP_SECONDS) -> float:
    """Call `step` all the time; return how long it was in the end."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while loop.time() - begin < seconds:
        await asyncio.sleep(every)
        await step()
    return loop.time() - begin


async def until(holds: Callable[[], bool], seconds: float, step: Step, what: str) -> None:
    """Call `step` until it holds. Raises PodlingError at the deadline, which says `what` did not come."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not holds():
        if loop.time() > deadline:
            raise PodlingError(f"after {seconds:g} s there were not {what}")
        await asyncio.sleep(STEP_SECONDS)
        await step()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return how much memory the process has at the moment."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
