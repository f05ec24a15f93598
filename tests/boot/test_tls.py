"""A master and a worker by https: everything that the worker does goes over encrypted connections."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from runpy import run_path
from urllib.parse import urlsplit

import aiohttp
import pytest

from podling.boot.master import running_master
from podling.boot.settings import WorkerSettings, read_master, read_worker
from podling.boot.worker import opened_worker
from podling.client import AsyncClient, tasks
from podling.core.errors import Unauthorized
from podling.kit.tls import trusting
from tests.certificates import TestAuthority
from tests.master.masters import eventually

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def worker_settings(folder: Path, address: str, *flags: str) -> WorkerSettings:
    own = ["--port", "0", "--data-dir", str(folder / "worker"), "--master-url", address]
    own += ["--runtime", "process", "--allow-root-processes", "--shutdown-timeout", "2"]
    return read_worker([*own, *flags], {})


@asynccontextmanager
async def working(folder: Path, address: str, *flags: str) -> AsyncIterator[None]:
    """Run a worker of processes meanwhile."""
    async with opened_worker(worker_settings(folder, address, *flags)) as worker:
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
    return [node["status"] async for node in client.nodes()] == ["online"]


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


# Certificates of workers


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[tuple[str, TestAuthority, list[str]]]:
    """Give a master that asks workers for certificates: its address, who signs them, flags to trust it."""
    own, clients = TestAuthority(folder), TestAuthority(folder, "clients")
    flags = [*own.sign("master", "127.0.0.1").master_flags, "--tls-client-ca", str(clients.path)]
    settings = read_master(["--port", "0", "--data-dir", str(folder / "master"), *flags], {})
    async with running_master(settings) as address:
        yield address, clients, ["--tls-ca", str(own.path)]


async def test_a_worker_with_a_certificate_works_and_users_need_none(tmp_path: Path) -> None:
    async with (
        asking(tmp_path) as (address, clients, flags),
        working(tmp_path, address, *flags, *clients.sign("worker").master_flags),
        AsyncClient(address, tls=trusting(tmp_path / "ca.pem")) as client,
    ):
        await eventually(lambda: is_online(client), "the worker is online")
        spec = {"name": "hello", "runtime": "process", "command": ["/bin/sh", "-c", "echo hello; sleep 60"]}
        task_id = (await client.submit(spec))["taskId"]
        async for chunk in client.stream(tasks.logs(task_id, follow=True)):
            if b"hello" in chunk:
                break
        await client.send(tasks.cancel(task_id))
        await client.wait(task_id, 20)


async def test_a_worker_without_a_certificate_is_refused_with_a_sentence(tmp_path: Path) -> None:
    words = "refuses this worker: this master wants a certificate of its workers: give the worker one"
    async with (
        asking(tmp_path) as (address, _, flags),
        opened_worker(worker_settings(tmp_path, address, *flags)) as worker,
        asyncio.timeout(20.0),
    ):
        with pytest.raises(Unauthorized, match=words):
            await worker.run()


async def test_a_certificate_of_somebody_else_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(tmp_path) as (address, _, flags):
        stranger = TestAuthority(tmp_path, "stranger").sign("worker")
        async with working(tmp_path, address, *flags, *stranger.master_flags):

            async def told() -> bool:
                return any(
                    "it may not accept the certificate of --tls-cert" in line for line in caplog.messages
                )

            await eventually(told, "why there is no session")
        async with AsyncClient(address, tls=trusting(tmp_path / "ca.pem")) as client:
            assert [node async for node in client.nodes()] == []


async def test_every_route_of_workers_wants_the_certificate(tmp_path: Path) -> None:
    async with (
        asking(tmp_path) as (address, clients, _),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(tmp_path / "ca.pem"))) as without,
    ):
        for method, path in [
            ("GET", "/nodes/n1/session"),
            ("POST", "/nodes/n1/tails"),
            ("POST", "/nodes/n1/credential"),
            ("POST", "/nodes/register"),
            ("POST", "/join"),
            ("GET", "/streams/x"),
            ("PUT", "/tasks/x/status"),
        ]:
            async with without.request(method, f"{address}/api/v1{path}") as answer:
                assert (answer.status, (await answer.json())["code"]) == (403, "certificate_needed"), path
        async with without.get(f"{address}/api/v1/tasks") as answer:
            assert answer.status == 200
        shown = clients.sign("worker")
        tls = trusting(tmp_path / "ca.pem", shown.certificate, shown.key)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as with_one,
            with_one.post(f"{address}/api/v1/nodes/n1/tails", json={"tails": []}) as answer,
        ):
            assert answer.status == 200


def shown(address: str) -> str:
    url = urlsplit(address)
    return ssl.get_server_certificate((url.hostname or "", url.port or 0), timeout=20)


async def test_a_hangup_shows_the_renewed_certificate_and_a_fault_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "podling.master")
    authority = TestAuthority(tmp_path)
    own = authority.sign("master", "127.0.0.1")
    flags = ["--port", "0", "--data-dir", str(tmp_path / "data"), *own.master_flags]
    async with running_master(read_master(flags, {})) as address:

        async def hang_up(words: str) -> str:
            caplog.clear()
            os.kill(os.getpid(), signal.SIGHUP)

            async def told() -> bool:
                return words in caplog.text

            await eventually(told, words)
            return await asyncio.to_thread(shown, address)

        before = await asyncio.to_thread(shown, address)
        assert before == own.certificate.read_text()
        async with AsyncClient(address, tls=trusting(authority.path)) as client:
            await client.cluster()
            old_key = own.key.read_bytes()
            authority.sign("master", "127.0.0.1")
            new_key = own.key.read_bytes()
            own.key.write_bytes(old_key)  # as if it was read between the two files
            assert await hang_up("the certificate stays as it was: --tls-cert and --tls-key") == before
            own.key.write_bytes(new_key)
            renewed = own.certificate.read_text()
            assert await hang_up("the certificate is now that of") == renewed != before
            await client.cluster()
        async with AsyncClient(address, tls=trusting(authority.path)) as client:
            await client.cluster()


async def test_the_examples_trust_whom_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("a-token-for-the-master-and-its-admin")
    monkeypatch.setattr("sys.argv", ["example"])
    monkeypatch.setenv("PODLING_TOKEN_FILE", str(tmp_path / "token"))
    flags = ["--port", "0", "--data-dir", str(tmp_path / "data"), "--tls-self-signed"]
    flags += ["--token-file", str(tmp_path / "token")]
    async with running_master(read_master(flags, {})) as address:
        monkeypatch.setenv("PODLING_MASTER_URL", address)
        monkeypatch.setenv("PODLING_TLS_CA", str(tmp_path / "data/tls/ca.pem"))
        blocking = run_path(str(EXAMPLES / "submit_and_wait.py"))["connect"]()
        assert (await asyncio.to_thread(blocking.cluster))["clusterId"]
        async with run_path(str(EXAMPLES / "fan_out.py"))["connect"]() as client:
            assert (await client.cluster())["clusterId"]
