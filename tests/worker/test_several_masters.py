"""A worker and its masters: where it may dial, whom it believes, and masters older or newer than itself."""

import asyncio
from pathlib import Path

import pytest

from podling.core.errors import ConfigurationError
from podling.core.protocol import OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION
from podling.wire.session import Assign, MastersKnown, OpenStream
from tests.worker.conftest import assignment, opened_worker, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster, small_master


async def _running(master: SmallMaster, runtime: MemoryRuntime) -> str:
    await master.until("the worker is connected", lambda: master.beats)
    await master.send(Assign(items=(assignment(),)))
    await master.running()
    return runtime.one()


def _request(name: str, url: str | None) -> OpenStream:
    return OpenStream(stream_id=name, path=f"/streams/{name}", task_id="t1", attempt=1, follow=True, url=url)


async def test_a_log_goes_to_the_master_that_asks_with_the_workers_credential(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with small_master() as asking, running_worker(tmp_path, runtime, master.url, token="of-this-test"):
        runtime.write(await _running(master, runtime), "far\n")
        await master.send(MastersKnown(masters=(master.url, asking.url)))
        await master.send(_request("s1", asking.url))
        await asking.until("the log came", lambda: asking.stream_text("s1") == b"far\n")
        assert [headers["Authorization"] for headers in asking.headers] == ["Bearer of-this-test"]
        assert not asking.hellos and not master.streams


async def test_a_master_that_nobody_told_of_is_never_dialled(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with small_master() as stranger, running_worker(tmp_path, runtime, master.url):
        await _running(master, runtime)
        await master.send(_request("s1", stranger.url))
        await master.until("it is refused", lambda: master.refusals)
        assert stranger.url in master.refusals[0].error
        assert not stranger.headers and not stranger.streams


async def test_an_asking_master_that_cannot_be_reached_is_told_of(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url, "http://127.0.0.1:1"):
        await _running(master, runtime)
        await master.send(_request("s1", "http://127.0.0.1:1"))
        await master.until("it is refused", lambda: master.refusals)
        assert "cannot reach" in master.refusals[0].error


async def test_a_worker_goes_on_to_a_master_that_it_was_told_of(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with small_master() as second, running_worker(tmp_path, runtime, master.url):
        await _running(master, runtime)
        await master.send(MastersKnown(masters=(master.url, second.url)))
        await master.hang_up()
        await second.until("the worker has moved on", lambda: second.beats)
        assert [held.task_id for held in second.hellos[0].held] == ["t1"]


@pytest.mark.parametrize(
    "subprotocols, spoken",
    [
        ((), OLDEST_PROTOCOL_VERSION),
        ((f"podling.{OLDEST_PROTOCOL_VERSION}",), OLDEST_PROTOCOL_VERSION),
        ((f"podling.{PROTOCOL_VERSION}", f"podling.{OLDEST_PROTOCOL_VERSION}"), PROTOCOL_VERSION),
        ((f"podling.{PROTOCOL_VERSION + 1}", f"podling.{PROTOCOL_VERSION}"), PROTOCOL_VERSION),
    ],
    ids=["before there was a choice", "older", "the same", "newer"],
)
async def test_masters_one_version_older_or_newer_are_spoken_to_in_their_own(
    tmp_path: Path, runtime: MemoryRuntime, subprotocols: tuple[str, ...], spoken: int
) -> None:
    async with (
        small_master(subprotocols=subprotocols) as master,
        running_worker(tmp_path, runtime, master.url),
    ):
        runtime.end(await _running(master, runtime), 0)
        assert (await master.end_of()).exit_code == 0
        assert master.hellos[-1].protocol_version == spoken


async def test_what_only_a_newer_master_says_is_left_aside(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        container = await _running(master, runtime)
        assert master.socket is not None
        await master.socket.send_str('fly\n{"where":"up"}')
        await master.socket.send_str('beatAcknowledged\n{"counter":1,"mood":"good"}')
        runtime.end(container, 0)
        await master.end_of()
        assert len(master.hellos) == 2  # the first was to learn the cluster's name


async def test_two_masters_of_two_clusters_are_refused(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """Masters on the memory store share nothing: each is a cluster of its own."""
    async with small_master(cluster_id="cluster-2") as other:
        with pytest.raises(ConfigurationError, match="two clusters") as refused:
            async with opened_worker(tmp_path, runtime, master.url, other.url) as worker, asyncio.timeout(10):
                await worker.run()
    assert master.url in refused.value.message and other.url in refused.value.message
    assert "postgres" in refused.value.message


async def test_a_second_cluster_that_shows_up_later_is_refused_then(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with (
        small_master(cluster_id="cluster-2", is_ready=False) as other,
        opened_worker(tmp_path, runtime, master.url, other.url) as worker,
    ):
        running = asyncio.create_task(worker.run())
        await master.until("the worker is connected", lambda: master.beats)
        other.is_ready = True
        await master.hang_up()
        with pytest.raises(ConfigurationError, match="two clusters"):
            async with asyncio.timeout(10):
                await running


async def test_a_single_master_may_be_another_cluster_after_its_restart(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url, "http://127.0.0.1:1"):
        await master.until("the worker is connected", lambda: master.beats)
        master.cluster_id = "cluster-2"
        master.beats.clear()
        await master.hang_up()
        await master.until("it is of the new cluster", lambda: master.beats)
