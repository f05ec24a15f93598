"""A Docker engine of the bench's own, in a network and a mount space of its own."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import docker

from bench.children import ROOT
from bench.cluster import POLL_SECONDS
from podling.core.errors import PodlingError

START_SECONDS = 60.0
STOP_SECONDS = 60.0


@asynccontextmanager
async def private_engine() -> AsyncIterator[str]:
    """Start an engine that has the bench's image; return its address. The machine's own is not touched."""
    directory = Path(tempfile.mkdtemp(prefix="podling-bench-engine-"))
    host = f"unix://{directory}/docker.sock"
    process = await _start(directory, host)
    try:
        await _until_it_answers(process, host, directory / "log")
        await _make_image(host)
        yield host
    finally:
        await _stop(process)
        shutil.rmtree(directory, ignore_errors=True)


async def _start(directory: Path, host: str) -> asyncio.subprocess.Process:
    dockerd = (
        f"ip link set lo up && exec dockerd --data-root {directory}/data --exec-root {directory}/exec "
        f"-H {host} -p {directory}/docker.pid"
    )
    with (directory / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "unshare", "--net", "--mount", "sh", "-c", dockerd),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


async def _until_it_answers(process: asyncio.subprocess.Process, host: str, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await asyncio.to_thread(_answers, host):
        if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
            text = log.read_text(errors="replace")[-2000:]
            raise PodlingError(f"a private Docker engine did not start (it needs root); its log ends: {text}")
        await asyncio.sleep(POLL_SECONDS)


def _answers(host: str) -> bool:
    try:
        with closing(docker.DockerClient(base_url=host, timeout=5)) as engine:
            return bool(engine.ping())
    except (docker.errors.DockerException, OSError):
        return False


async def _make_image(host: str) -> None:
    making = await asyncio.create_subprocess_exec(
        ROOT / "bin" / "make-image",
        env=os.environ | {"DOCKER_HOST": host},
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(START_SECONDS):
        failed = await making.wait()
    if failed:
        raise PodlingError("bin/make-image could not make the image in the private engine")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
