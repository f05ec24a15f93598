"""What a real engine drops of a flood of log, before or while the worker reads it, is said to be missing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from podling.core.logrecord import LogRecord, Stream
from podling.core.spec import ContainerSpec, Logging
from podling.wire.session import Assign, OpenStream
from podling.worker.runtime.base import Condition, LogLimit
from podling.worker.runtime.docker import DockerRuntime
from podling.worker.runtime.docker_logs import LogSize, kept_bytes
from tests.docker_engine import IMAGE, docker, engine_answers, make_image, remove_containers
from tests.support import require
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.runtime.recorder import Recorder, output_of
from tests.worker.small_master import SmallMaster, small_master

pytestmark = pytest.mark.docker

SIZE = LogSize(file_bytes=1_000_000, files=3)
MISSING = b"[podling: a part of the log is missing here]"
LINE_BYTES = 9000
KEPT = 20


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


async def run(master: SmallMaster, script: str, **options: Any) -> None:
    container = ContainerSpec(image=IMAGE, command=("sh", "-c"), args=(script,), **options)
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


async def test_a_container_with_sizes_of_its_own_is_measured_by_those(
    worker: None, master: SmallMaster
) -> None:
    await run(master, numbered(1, 200), logging=Logging(max_size=100_000, max_files=2))
    await saved(master)
    lines = await read(master)
    assert lines[0] == MISSING
    assert (left := numbers(lines)) == list(range(left[0], 201)) and left[0] > 1


async def test_what_the_engine_surely_kept_has_none(worker: None, master: SmallMaster) -> None:
    await run(master, numbered(1, 200))
    await saved(master)
    assert numbers(lines := await read(master)) == list(range(1, 201))
    assert MISSING not in lines


async def test_a_reader_beside_a_flood_is_told_too(worker: None, master: SmallMaster) -> None:
    await run(master, f"{numbered(1, 600)}; echo '999999 done'; exec sleep 1000")
    await master.running()
    lines: list[bytes] = []
    async with asyncio.timeout(30.0):
        while not lines or not lines[-1].startswith(b"999999"):
            lines = await read(master)
    assert lines[0] == MISSING
    following = asyncio.create_task(read(master, follow=True))
    await master.until("it is followed", lambda: any(b"999999" in text for text in master.streams.values()))
    docker("kill", "--signal", "KILL", *await containers(master))
    assert await following == lines


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


class ForgetfulRuntime(MemoryRuntime):
    """Keeps the last KEPT records; for who follows too slowly it skips in silence what it has dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.log_limit = LogLimit(surely_kept_bytes=KEPT, size_of=lambda record: 1)

    async def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        records = self.output.setdefault(container_id, [])
        place, end = 0, None if follow else len(records)
        first = max(0, len(records) - KEPT)
        for record in records[first:end]:
            if not follow and (since is None or record.at >= since):
                yield record  # what is given at once is held on to
        while follow:
            place = max(place, len(records) - KEPT)
            if place < len(records):
                place += 1
                if since is None or records[place - 1].at >= since:
                    yield records[place - 1]
            elif self.there(container_id).condition is Condition.RUNNING:
                await self._grown.wait()
            else:
                return


async def test_a_follower_that_fell_behind_is_told_of_what_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.worker.log_pace.BEHIND_SECONDS", 0.2)
    monkeypatch.setattr("podling.worker.streams.MOST_WAITING", 10)
    runtime, name = ForgetfulRuntime(), "podling-cluster-1-t1-1"
    async with small_master() as master, running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment(),)))
        await master.running()
        master.reads_streams.clear()
        reading = asyncio.create_task(read(master, follow=True))
        await master.until("somebody follows", lambda: master.streams)
        for number in range(1, 401):
            runtime.write(name, f"{number:06d} {'x' * 60_000}\n")
            await asyncio.sleep(0)
        later = asyncio.Event()
        asyncio.get_running_loop().call_later(2.0, later.set)
        await later.wait()
        master.reads_streams.set()
        runtime.end(name, 0)
        lines = await reading
    assert numbers(lines)[-1] == 400
    assert MISSING in lines
    assert_no_silence(lines)


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
