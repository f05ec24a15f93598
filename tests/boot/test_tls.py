"""A master and a worker by https: everything that the worker does goes over encrypted connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podling.boot.master import running_master
from podling.boot.settings import read_master, read_worker
from podling.boot.worker import opened_worker
from podling.client import AsyncClient, nodes, tasks
from podling.kit.tls import trusting
from tests.certificates import TestAuthority
from tests.master.masters import eventually


@asynccontextmanager
async def working(folder: Path, address: str, *flags: str) -> AsyncIterator[None]:
    """Run a worker of processes meanwhile."""
    own = ["--port", "0", "--data-dir", str(folder / "worker"), "--master-url", address]
    own += ["--runtime", "process", "--allow-root-processes", "--shutdown-timeout", "2"]
    async with opened_worker(read_worker([*own, *flags], {})) as worker:
        running = asyncio.create_task(worker.run())
        try:
            yield
            worker.stop()
            async with asyncio.timeout(20.0):
                await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def is_online(client: AsyncClient) -> bool:
    return [node["status"] for node in await client.send(nodes.listing())] == ["online"]


async def test_a_task_runs_and_its_log_comes_back_encrypted(tmp_path: Path) -> None:
    flags = ["--port", "0", "--data-dir", str(tmp_path / "master"), "--tls-self-signed"]
    authority = tmp_path / "master/tls/ca.pem"
    async with (
        running_master(read_master(flags, {})) as address,
        working(tmp_path, address, "--tls-ca", str(authority)),
        AsyncClient(address, tls=trusting(authority)) as client,
    ):
        spec = {"name": "hello", "runtime": "process", "command": ["/bin/sh", "-c", "echo over TLS; cat"]}
        task_id = (await client.submit(spec))["taskId"]
        read = b""
        async for chunk in client.stream(tasks.logs(task_id, follow=True)):  # dialled by the worker
            read += chunk
            if b"over TLS" in read:
                break
        assert (await client.wait(task_id, 20))["status"] == "completed"

        async def tail() -> object:
            return await client.send(tasks.logs(task_id)) == "over TLS\n"

        await eventually(tail, "the log is in the store")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "its certificate is signed by nobody who is trusted here; name the file"),
        (["--tls-ca", "other.pem"], "its certificate is signed by nobody who is trusted here; name the file"),
        (["--master-url", "http"], "it hung up without an answer; if it speaks https, write https://"),
    ],
)
async def test_a_worker_says_why_it_cannot_connect(
    flags: list[str], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = TestAuthority(tmp_path).sign("master", "127.0.0.1").master_flags
    TestAuthority(tmp_path, "other")
    settings = read_master(["--port", "0", "--data-dir", str(tmp_path / "master"), *own], {})
    async with running_master(settings) as address:
        given = [str(tmp_path / flag) if flag.endswith(".pem") else flag for flag in flags]
        given = [address.replace("https", "http") if flag == "http" else flag for flag in given]
        async with working(tmp_path, address, *given):

            async def told() -> bool:
                return any(words in line for line in caplog.messages)

            await eventually(told, words)
