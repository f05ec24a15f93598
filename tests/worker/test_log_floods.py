"""What a real engine drops of a flood of log, before or while the worker reads it, is said to be missing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from podling.core.logrecord import LogRecord, Stream
from podling.core.spec import ContainerSpec
from podling.wire.session import Assign, OpenStream
from podling.worker.runtime.docker import DockerRuntime
from podling.worker.runtime.docker_logs import LogSize, kept_bytes
from tests.docker_engine import IMAGE, docker, engine_answers, make_image, remove_containers
from tests.support import require
from tests.worker.conftest import assignment, running_worker
from tests.worker.runtime.recorder import Recorder, output_of
from tests.worker.small_master import SmallMaster, small_master

pytestmark = pytest.mark.docker

SIZE = LogSize(file_bytes=1_000_000, files=3)
MISSING = b"[podling: a part of the log is missing here]"
LINE_BYTES = 9000


@pytest.fixture
async def master() -> AsyncIterator[SmallMaster]:
    require(engine_answers(), "no Docker engine answers; bin/ensure-docker starts one")
    make_image()
    async with small_master(cluster_id=f"test-{uuid4().hex[:12]}", lease_seconds=30.0) as master:
        yield master
        remove_containers(f"podling.io/cluster={master.cluster_id}")


@pytest.fixture
async def worker(tmp_path: Path, master: SmallMaster) -> AsyncIterator[None]:
    def runtime(cluster_id: str) -> DockerRuntime:
        return DockerRuntime(cluster_id, "node-1", log_size=SIZE)

    async with running_worker(tmp_path, runtime, master.url, heartbeat_interval=0.2):
        await master.until("the worker is connected", lambda: master.beats)
        yield


async def run(master: SmallMaster, script: str) -> None:
    container = ContainerSpec(image=IMAGE, command=("sh", "-c"), args=(script,))
    await master.send(Assign(items=(assignment(containers=(container,), network="none"),)))


async def read(master: SmallMaster, *, follow: bool = False) -> list[bytes]:
    """Return the log's lines, once all of them are there."""
    name = uuid4().hex
    request = OpenStream(stream_id=name, path=f"/streams/{name}", task_id="t1", attempt=1, follow=follow)
    await master.send(request)
    await master.until("it is all there", lambda: name in master.ended_streams)
    return master.stream_text(name).splitlines()


async def saved(master: SmallMaster) -> None:
    await master.end_of()
    await master.until("its log is kept", lambda: [tail for tail in master.tails if tail["final"]])


def numbered(first: int, last: int) -> str:
    """Write lines that begin with these numbers."""
    return f"""awk 'BEGIN {{ for (i = {first}; i <= {last}; i++) printf "%06d %0{LINE_BYTES}d\\n", i, 0 }}'"""


def numbers(lines: list[bytes]) -> list[int]:
    return [int(line[:6]) for line in lines if line != MISSING]


async def test_a_flood_that_is_over_before_anybody_looked_has_a_gap(
    worker: None, master: SmallMaster
) -> None:
    await run(master, numbered(1, 600))
    await saved(master)
    lines = await read(master)
    assert lines[0] == MISSING and MISSING not in lines[1:]
    left = numbers(lines)
    assert left == list(range(left[0], 601)) and left[0] > 1


async def test_what_the_engine_surely_kept_has_none(worker: None, master: SmallMaster) -> None:
    await run(master, numbered(1, 200))
    await saved(master)
    assert numbers(lines := await read(master)) == list(range(1, 201))
    assert MISSING not in lines


async def test_a_reader_beside_a_flood_is_told_too(worker: None, master: SmallMaster) -> None:
    await run(master, f"{numbered(1, 600)}; echo 999999 done; exec sleep 1000")
    await master.running()
    ready = asyncio.create_task(read(master, follow=True))
    await master.until("all is written", lambda: any(b"999999" in text for text in texts(master)))
    assert (await read(master))[0] == MISSING
    docker("kill", "--signal", "KILL", *await containers(master))
    follower = await ready
    assert numbers(follower)[-1] == 999999
    assert_no_silence(follower)


def texts(master: SmallMaster) -> list[bytes]:
    return list(master.streams.values())


async def containers(master: SmallMaster) -> list[str]:
    return docker("ps", "-q", "--filter", f"label=podling.io/cluster={master.cluster_id}").split()


def assert_no_silence(lines: list[bytes]) -> None:
    """No number is left out but where a gap says so; an engine that is followed may repeat some."""
    assert lines[0] == MISSING or numbers(lines)[0] == 1
    last = 0
    for line in lines:
        number = int(line[:6]) if line != MISSING else 0
        assert number <= last + 1 or not last or number == 999999, f"{number} after {last}"
        last = max(last, number) if number else 0


async def test_a_follower_that_fell_behind_is_told_of_what_it_missed(
    worker: None, master: SmallMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.worker.log_pace.BEHIND_SECONDS", 0.1)
    monkeypatch.setattr("podling.worker.streams.MOST_WAITING", 10)
    bursts = "; sleep 0.05; ".join(numbered(first, first + 39) for first in range(1, 1601, 40))
    await run(master, bursts)
    await master.running()
    master.reads_streams.clear()
    asyncio.get_running_loop().call_later(2.5, master.reads_streams.set)
    lines = await read(master, follow=True)
    assert numbers(lines)[-1] == 1600
    assert MISSING in lines
    assert_no_silence(lines)
    assert_no_silence(await read(master))


async def test_the_engine_keeps_no_record_in_more_than_that(worker: None, master: SmallMaster) -> None:
    ugly = r"plain\n\"quoted\" \\ <&>\t\001\033[1m\r\n\377\376\n\303\244\342\200\250\n\n"
    await run(master, f"printf '{ugly}'; exec sleep 1000")
    await master.running()
    (container_id,) = await containers(master)
    path = Path(docker("inspect", "--format", "{{.LogPath}}", container_id))
    require(path.exists(), "the engine's files are not on this machine")
    entries = path.read_bytes().splitlines(keepends=True)
    runtime = DockerRuntime(master.cluster_id, "node-1")
    await runtime.open(Recorder())
    records = await output_of(runtime, container_id)
    await runtime.close()
    assert len(records) == len(entries) == 5
    for record, entry in zip(records, entries, strict=True):
        assert len(entry) <= kept_bytes(record) <= len(entry) + 20
    assert kept_bytes(LogRecord(at=records[0].at, stream=Stream.STDOUT, data=b"\n")) < 80
