"""The program podling-master is killed between a task's end and the alert about it."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.master.fake_worker import FakeWorker
from tests.master.masters import Api, eventually
from tests.master.receivers import web_receiver

PROGRAM = Path(__file__).parents[2] / "cmd" / "master" / "main.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="podling-alerts-"))
    made.chmod(0o755)  # PostgreSQL runs as another user where this one is root
    yield made
    shutil.rmtree(made, ignore_errors=True)


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[Process, str]]:
    database = {"STORE_TYPE": "postgres", "DATABASE_URL": f"embedded:{folder / 'postgres'}"}
    flags = ["--port", "0", "--data-dir", str(folder / "master"), "--alert-hosts", "127.0.0.1"]
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), *flags),
        stdout=DEVNULL,
        stderr=PIPE,
        env=os.environ | database,
        cwd=folder,
    )
    try:
        yield program, await _address(program)
    finally:
        if program.returncode is None:
            program.send_signal(signal.SIGTERM)
        async with asyncio.timeout(40.0):
            await program.wait()


async def _address(program: Process) -> str:
    assert program.stderr is not None
    async with asyncio.timeout(60.0):
        while line := (await program.stderr.readline()).decode():
            if "listening on " in line:
                return line.partition("listening on ")[2].partition(",")[0]
    raise AssertionError("the master ended before it listened")


async def _failed_task(url: str, port: int) -> str:
    """Have a task fail about which an alert goes to that port of this machine."""
    api, worker = Api(url), FakeWorker(url, "one")
    try:
        rule = {"http": f"http://127.0.0.1:{port}/hook"}
        assert (await api.put("/alerts/ops", rule)).status == 201
        await worker.connect()
        task_id = str((await api.submit(name="nightly"))["taskId"])
        await worker.end(await worker.assigned(task_id), 1)
        return task_id
    finally:
        await worker.close()
        await api.close()


async def test_the_next_start_delivers_what_a_kill_left_undelivered(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the call, and never answers
        port = silent.getsockname()[1]
        async with started(folder) as (program, url):
            task_id = await _failed_task(url, port)
            async with asyncio.timeout(20.0):
                await asyncio.to_thread(silent.accept)
            program.kill()
            await program.wait()
    async with web_receiver(port) as receiver, started(folder) as (_, url):
        (call,) = await receiver.calls.until(1, seconds=20.0)
        assert call.json["data"]["taskId"] == task_id
        api = Api(url)
        try:
            await eventually(lambda: _is_told(api, task_id), "the line in the timeline")
            rule = (await api.get("/alerts/ops")).json
            assert (rule["pending"], rule["lastError"]) == (0, None)
        finally:
            await api.close()
        assert len(receiver.calls.items) == 1


async def _is_told(api: Api, task_id: str) -> bool:
    lines = (await api.get(f"/tasks/{task_id}/timeline")).json
    return [line["type"] for line in lines].count("alert_sent") == 1
