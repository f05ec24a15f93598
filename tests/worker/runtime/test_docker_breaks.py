"""What is told when the engine is killed, cut off, or hangs."""

import asyncio
import os
import select
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from podling.core.spec import ContainerSpec
from podling.worker.runtime.base import Condition
from podling.worker.runtime.docker import DockerRuntime
from tests.docker_engine import IMAGE, PrivateEngine, docker, private_engine
from tests.support import require
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, work_of

pytestmark = pytest.mark.docker


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    require(os.geteuid() == 0, "a private Docker engine needs root")
    with private_engine(*getattr(request, "param", ())) as engine:
        yield engine


@pytest.fixture
async def runtime(engine: PrivateEngine, recorder: Recorder) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime("c", "n", engine.host)
    await runtime.open(recorder)
    yield runtime
    await runtime.close()


async def running(runtime: DockerRuntime, name: str, script: str) -> str:
    spec = ContainerSpec(image=IMAGE, command=("sh", "-c", script), stop_signal="SIGKILL")
    prepared = await runtime.prepare(work_of(name, spec))
    await runtime.start(prepared.container_id)
    return prepared.container_id


def process_of(engine: PrivateEngine, container_id: str) -> int:
    return int(docker("inspect", "-f", "{{.State.Pid}}", container_id, host=engine.host))


@pytest.mark.parametrize("engine", [["--live-restore"]], indirect=True)
async def test_containers_outlive_an_engine_with_live_restore(
    engine: PrivateEngine, runtime: DockerRuntime, recorder: Recorder
) -> None:
    brief = await running(runtime, "brief", "trap 'exit 5' TERM; while :; do sleep 0.05; done")
    long = await running(runtime, "long", "while [ ! -e /go ]; do sleep 0.1; done; exit 6")
    pid = process_of(engine, brief)
    await asyncio.to_thread(engine.kill)
    assert "cannot be reached" in (await runtime.check() or "")
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert await asyncio.to_thread(select.select, [descriptor], [], [], DEADLINE_SECONDS)
    os.close(descriptor)
    await asyncio.to_thread(engine.start)
    assert (await recorder.exit_of(brief)).exit_code == 5
    await asyncio.to_thread(docker, "exec", long, "touch", "/go", host=engine.host)
    found = await recorder.exit_of(long)
    assert (found.exit_code, found.error_code) == (6, None)
    assert await runtime.check() is None


async def test_what_a_returning_engine_kills_is_a_loss(
    engine: PrivateEngine, runtime: DockerRuntime, recorder: Recorder
) -> None:
    container_id = await running(runtime, "long", "sleep 1000")
    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    found = await recorder.exit_of(container_id)
    assert (found.exit_code, found.error_code) == (137, "RUNTIME")


async def test_an_exit_that_nobody_saw_is_unknown(
    engine: PrivateEngine, runtime: DockerRuntime, recorder: Recorder
) -> None:
    container_id = await running(runtime, "lost", "sleep 1000")
    pid = process_of(engine, container_id)
    shim = int(Path(f"/proc/{pid}/stat").read_text().split()[3])
    assert "containerd-shim" in Path(f"/proc/{shim}/cmdline").read_text()
    await asyncio.to_thread(engine.kill)
    for victim in (shim, pid):
        os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(engine.start)
    found = await recorder.exit_of(container_id)
    assert (found.exit_code, found.error_code) == (None, "UNKNOWN_EXIT")

    successor = DockerRuntime("c", "n", engine.host)
    await successor.open(Recorder())
    (again,) = await successor.inventory()
    await successor.close()
    assert (again.condition, again.exit_code, again.error_code) == (Condition.EXITED, None, "UNKNOWN_EXIT")


@pytest.mark.parametrize("engine", [["--live-restore"]], indirect=True)
async def test_a_removal_during_a_break_is_told(
    engine: PrivateEngine, runtime: DockerRuntime, recorder: Recorder
) -> None:
    container_id = await running(runtime, "away", "sleep 1000")
    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    await asyncio.to_thread(docker, "rm", "-f", container_id, host=engine.host)
    assert (await recorder.gone(container_id)).engine_name == "away"


async def test_a_hung_engine_is_a_reason_and_no_wait(engine: PrivateEngine, runtime: DockerRuntime) -> None:
    engine.pause()
    async with asyncio.timeout(DEADLINE_SECONDS / 6):
        assert "did not answer" in (await runtime.check() or "")
        assert "did not answer" in (await runtime.check() or "")
    engine.resume()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await runtime.check() is not None:
            pass


async def test_an_engine_is_described_while_it_is_there(
    engine: PrivateEngine, runtime: DockerRuntime
) -> None:
    told = await runtime.describe()
    assert (told.name, told.problem) == ("docker", None)
    assert told.version is not None and told.version[0].isdecimal()
    assert told.root is not None and Path(told.root).is_dir()
    await asyncio.to_thread(engine.kill)
    away = await runtime.describe()
    assert (away.version, away.root) == (None, None)
    assert "cannot be reached" in (away.problem or "")
