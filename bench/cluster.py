"""A master and a worker as programs of their own, in a temporary directory."""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.metrics import Reading
from podling.core.errors import PodlingError

START_SECONDS = 30.0
STOP_SECONDS = 40.0
POLL_SECONDS = 0.05
# The kernel ends it with SIGTERM (15) when the bench is gone, whatever has become of that.
PROGRAM = (
    "import ctypes; ctypes.CDLL(None).prctl(1, 15); "
    "from podling.boot.{name} import main; raise SystemExit(main())"
)


@dataclass(frozen=True)
class Master:
    """A running master; `url` has no slash at its end."""

    url: str
    port: int
    directory: Path
    http: aiohttp.ClientSession
    program: "Program"

    @staticmethod
    def clock() -> float:
        return time.monotonic()

    async def reading(self) -> Reading:
        """Return what it tells at /metrics."""
        async with self.http.get(f"{self.url}/metrics") as response:
            return Reading(await response.text())

    async def get(self, path: str, **query: str) -> Any:
        """Return the JSON of a path below /api/v1."""
        async with self.http.get(f"{self.url}/api/v1{path}", params=query) as response:
            return await _json(response)

    async def post(self, path: str, body: Any) -> Any:
        """Send JSON to a path below /api/v1."""
        async with self.http.post(f"{self.url}/api/v1{path}", json=body) as response:
            return await _json(response)

    async def submit_all(self, specs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Submit in one batch; return the ids."""
        answers = await self.post("/tasks:batch", {"tasks": list(specs)})
        for answer in answers:
            if "error" in answer:
                raise PodlingError(answer["error"])
        return [answer["taskId"] for answer in answers]

    async def wait_until_ended(self, seconds: float) -> None:
        """Return when no task is live or pending any more."""
        async with asyncio.timeout(seconds):
            while await self.get("/tasks", status="pending,scheduled,running", limit="1"):
                await asyncio.sleep(POLL_SECONDS)


async def _json(response: aiohttp.ClientResponse) -> Any:
    body = await response.json()
    if response.status >= 400:
        raise PodlingError(f"the master answered {response.status}: {body}")
    return body


@dataclass(frozen=True)
class Cluster(Master):
    """A master and a worker, whose own API is at `worker_url`."""

    worker_url: str
    worker: "Program"


@asynccontextmanager
async def lone_master(store: str) -> AsyncIterator[Master]:
    """Start a master, wait until it is ready, and end it afterwards.

    Its embedded PostgreSQL, if any, is the directory `postgres` beside its own.
    """
    directory = Path(tempfile.mkdtemp(prefix="podling-bench-"))
    directory.chmod(0o755)
    port = _free_port()
    environment = {"STORE_TYPE": store}
    if store == "postgres":
        environment["DATABASE_URL"] = f"embedded:{directory / 'postgres'}"
    flags = ["--port", str(port), "--data-dir", str(directory / "master"), "--allow-simulated"]
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        program = await stack.enter_async_context(Program(directory, environment, "master", *flags))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        started = Master(f"http://127.0.0.1:{port}", port, directory, http, program)
        await _until_ready(started, directory)
        yield started


@asynccontextmanager
async def cluster(store: str, *worker_flags: str) -> AsyncIterator[Cluster]:
    """Start a master and a worker, wait until it is connected, and end both afterwards."""
    async with lone_master(store) as master:
        port, directory = _free_port(), master.directory
        flags = ["--port", str(port), "--data-dir", str(directory / "worker"), "--master-url", master.url]
        async with Program(directory, {}, "worker", *flags, *worker_flags) as worker:
            started = Cluster(**vars(master), worker_url=f"http://127.0.0.1:{port}", worker=worker)
            await _until_online(started, directory)
            yield started


class Program:
    """One of Podling's programs; as a context it is started, and ended afterwards."""

    def __init__(self, directory: Path, environment: Mapping[str, str], name: str, *flags: str) -> None:
        self._command = [sys.executable, "-c", PROGRAM.format(name=name), *flags]
        self._directory = directory
        self._environment = os.environ | dict(environment)
        self._log = directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Program":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            await self.kill()

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdout=log, stderr=log, cwd=self._directory,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


async def _until_ready(started: Master, directory: Path) -> None:
    async def ready() -> bool:
        async with started.http.get(f"{started.url}/ready") as response:
            return response.status == 200

    await _until(ready, directory / "master.log")


async def _until_online(started: Master, directory: Path) -> None:
    async def online() -> bool:
        nodes = await started.get("/nodes")
        return any(node["status"] == "online" and not node["unhealthy"] for node in nodes)

    await _until(online, directory / "worker.log")


async def _until(attempt: Any, log: Path) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _succeeds(attempt):
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise PodlingError(f"a program did not start; its log ends: {log.read_text()[-2000:]}") from None


async def _succeeds(attempt: Any) -> bool:
    try:
        return bool(await attempt())
    except aiohttp.ClientError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
