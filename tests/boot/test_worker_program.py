"""The program podling-worker: how it starts, what it says when it cannot, and how it stops."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podling.boot.worker import main
from podling.core.protocol import ReportKind
from podling.core.spec import ContainerSpec, Runtime
from podling.wire.session import Assign
from tests.worker.conftest import assignment
from tests.worker.small_master import SmallMaster, small_master

PROGRAM = Path(__file__).parents[2] / "cmd" / "worker" / "main.py"


@asynccontextmanager
async def started(data_dir: Path, master: SmallMaster, *flags: str) -> AsyncIterator[Process]:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), "--data-dir", str(data_dir), "--master-url", master.url),
        *("--runtime", "simulated", "--port", "0", *flags),
        stdout=PIPE,
        stderr=PIPE,
        cwd=data_dir.parent,
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


def simulated(task_id: str, seconds: float = 0.0) -> Assign:
    container = ContainerSpec(image="none", env={"PODLING_SIMULATE_SECONDS": str(seconds)})
    return Assign(items=(assignment(task_id, runtime=Runtime.SIMULATED, containers=(container,)),))


async def test_runs_tasks_and_stops_on_sigterm(tmp_path: Path) -> None:
    async with small_master() as master, started(tmp_path / "data", master) as program:
        await master.until("it is connected", lambda: master.beats)
        await master.send(simulated("t1"))
        assert (await master.end_of("t1")).kind is ReportKind.ENDED
        program.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20.0):
            assert await program.wait() == 0
    assert (tmp_path / "data" / "node-id").read_text().strip()


async def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    async with small_master() as master, started(tmp_path / "data", master) as program:
        await master.until("it is connected", lambda: master.beats)
        await master.send(simulated("t1", seconds=1000.0))
        await master.running("t1")
        master.acknowledges_reports = False
        await master.send(simulated("t2"))
        await master.end_of("t2")  # told, but not acknowledged: the first signal waits for that
        program.send_signal(signal.SIGTERM)
        await master.until("it takes no new work", lambda: master.beats[-1].unhealthy is not None)
        program.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5.0):
            assert await program.wait() == 1


async def test_a_node_keeps_its_id(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        async with small_master() as master, started(tmp_path / "data", master) as program:
            await master.until("it is connected", lambda: master.beats)
            ids.append((tmp_path / "data" / "node-id").read_text())
            program.send_signal(signal.SIGTERM)
            await program.wait()
    assert ids[0] == ids[1]


async def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with (
            small_master() as master,
            started(tmp_path / "data", master, "--port", str(port)) as program,
        ):
            _, errors = await program.communicate()
    assert program.returncode == 1
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"podling-worker: cannot listen on 127.0.0.1:{port}: it is in use")
    assert "Traceback" not in errors.decode()
    assert master.hellos == []  # no node is left behind at the master


@pytest.mark.parametrize("given", [None, "another-token-of-24-characters"])
async def test_a_wrong_token_ends_the_first_start(given: str | None, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(given or "")
    flags = ["--token-file", str(tmp_path / "token")] if given else []
    async with small_master() as master:
        master.wants_token = "the-token-of-the-master"
        async with started(tmp_path / "data", master, *flags) as program, asyncio.timeout(20.0):
            _, errors = await program.communicate()
    assert program.returncode == 1
    fault = "refuses the token of this worker" if given else "wants a token"
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"podling-worker: the master at {master.url} {fault}: ")
    assert "--token-file" in last


async def test_a_token_that_was_changed_later_is_told_and_tried_again(tmp_path: Path) -> None:
    async with small_master() as master, started(tmp_path / "data", master) as program:
        await master.until("it is connected", lambda: master.beats)
        master.wants_token = "a-token-that-came-later"
        await master.hang_up()
        assert program.stderr is not None
        async with asyncio.timeout(20.0):
            while b"wants a token" not in await program.stderr.readline():
                assert not program.stderr.at_eof()
        master.wants_token = None
        seen = len(master.hellos)
        await master.until("it is connected again", lambda: len(master.hellos) > seen)


def test_no_docker_engine_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = f"unix://{tmp_path}/no.sock"
    code = main(["--data-dir", str(tmp_path / "data"), "--docker-host", engine, "--port", "0"])
    shown = capsys.readouterr().err.strip().splitlines()
    assert code == 1
    assert shown[-1].startswith("podling-worker: The Docker engine cannot be reached")


@pytest.mark.parametrize("way", ["--docker-host", "DOCKER_HOST"])
def test_an_engine_behind_ssh_is_one_sentence(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://x")
    flags = ["--docker-host", "ssh://x"] if way == "--docker-host" else []
    code = main(["--data-dir", str(tmp_path / "data"), "--port", "0", *flags])
    shown = capsys.readouterr().err.strip().splitlines()
    assert code == 1
    assert shown[-1].startswith("podling-worker: A Docker engine behind ssh:// cannot be used")


def test_a_second_worker_on_one_directory_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from podling.worker.datadir import DataDirectory

    first = DataDirectory.open(tmp_path)
    code = main(["--data-dir", str(tmp_path), "--runtime", "simulated"])
    first.close()
    assert code == 1
    assert "another worker uses the data directory" in capsys.readouterr().err
