"""A worker's sessions: hellos, masters lost, drains, goodbyes and other clusters."""

import asyncio
from pathlib import Path

import pytest

from podling.core.errors import ConfigurationError
from podling.core.protocol import HeldState, ReportKind
from podling.core.spec import OnDisconnect, OnLost
from podling.core.task import StopReason
from podling.wire.session import SUBPROTOCOLS, Assign, Desired, Drain, Goodbye, OpenStream
from tests.worker.conftest import assignment, connected, running_worker, start
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import PATIENCE_SECONDS, SmallMaster, small_master


@pytest.mark.parametrize("subprotocols, is_told", [(SUBPROTOCOLS, True), ((), False)])
async def test_a_hello_before_the_engine_answers_says_so_to_masters_that_know_the_word(
    tmp_path: Path,
    runtime: MemoryRuntime,
    master: SmallMaster,
    subprotocols: tuple[str, ...],
    is_told: bool,
) -> None:
    master.subprotocols = subprotocols
    async with running_worker(tmp_path, runtime, master.url):
        await connected(master)
    runtime.may_open.clear()
    hellos = len(master.hellos)
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("it beats", lambda: len(master.hellos) > hellos)
        runtime.may_open.set()
        await master.until("the session proper", lambda: master.hellos[-1].unhealthy is None)
    assert [hello.beats_only for hello in master.hellos[hellos:]] == [is_told, False]


async def test_a_worker_whose_engine_hangs_at_a_restart_beats_and_keeps_what_runs(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """Longer than a lease: neither is the node lost, nor are its containers stopped."""
    master.lease_seconds = 1.0
    async with running_worker(tmp_path, runtime, master.url, crash=True):
        container = await start(master, runtime)
    runtime.may_open.clear()
    hellos = len(master.hellos)
    master.beats.clear()
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("it beats for longer than a lease", lambda: len(master.beats) > 6)
        (hello,) = master.hellos[hellos:]
        assert [(item.task_id, item.state) for item in hello.held] == [("t1", HeldState.RUNNING)]
        assert {beat.unhealthy for beat in master.beats} == {"the worker is starting"}
        runtime.may_open.set()
        await master.until("the session proper", lambda: master.hellos[-1].unhealthy is None)
        runtime.end(container, 0)
        assert (await master.end_of()).exit_code == 0
    assert runtime.stops == []


async def test_the_end_of_the_lease_stops_what_must_not_outlive_it(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """I17: TERM at two thirds of the lease; what may be kept goes on."""
    master.lease_seconds = 0.6
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        keep = assignment("t2", on_disconnect=OnDisconnect.KEEP, on_lost=OnLost.FAIL)
        await master.send(Assign(items=(keep,)))
        await master.running("t2")
        kept = next(name for name in runtime.containers if name != container)
        master.acknowledges_beats = False
        master.may_welcome.clear()  # a welcome would be a new lease
        master.desired = Desired()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await runtime.stopped.wait()
        master.may_welcome.set()
        end = await master.end_of("t1")
        assert (end.error_code, end.stopped_by) == ("DISCONNECTED", StopReason.DISCONNECT)
        assert [name for name, _ in runtime.stops] == [container]
        assert runtime.stops[0][1] <= 0.6 / 6 + 0.01
        assert runtime.there(kept).condition == "running"


async def test_a_silent_master_is_left_for_the_next(tmp_path: Path, runtime: MemoryRuntime) -> None:
    async with (
        small_master(lease_seconds=0.6, acknowledges_beats=False) as silent,
        small_master(lease_seconds=0.6) as good,
        running_worker(tmp_path, runtime, silent.url, good.url),
    ):
        await good.until("the worker has moved on", lambda: good.beats)
        assert silent.hellos


async def test_an_older_session_sent_away_ends_the_program(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """I20: two workers with one node id."""
    with pytest.raises(ConfigurationError, match="another worker"):
        async with running_worker(tmp_path, runtime, master.url):
            await connected(master)
            await master.send(Goodbye(reason="another worker with this node id", reconnect=False))
            await asyncio.sleep(0)
            await master.until("it has hung up", lambda: master.socket and master.socket.closed)


async def test_a_clean_stop_is_told_after_everything_else(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url) as worker:
        container = await start(master, runtime)
        await master.send(Assign(items=(assignment("t2"),)))
        await master.running("t2")
        runtime.end(container, 3)
        worker.stop("it got SIGTERM")
        await master.until("the worker has said goodbye", lambda: master.goodbyes)
        assert (await master.end_of()).exit_code == 3
    assert master.goodbyes == [Goodbye(reason="it got SIGTERM", reconnect=False)]
    assert master.beats[-1].unhealthy == "the worker is shutting down"
    assert len(master.hellos) == 2, "it came back after the goodbye"
    assert runtime.stops == []  # what runs is adopted at the next start


async def test_a_drained_node_starts_nothing_until_it_is_told_that_it_is_over(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        await master.send(Drain(reason="the node is drained"))
        await master.send(Assign(items=(assignment("t2"),)))
        refused = await master.end_of("t2")
        assert (refused.kind, refused.error_code) == (ReportKind.REFUSED, "DRAINED")
        await master.send(Drain(reason=None))
        await master.send(Assign(items=(assignment("t3"),)))
        await master.running("t3")
        runtime.end(container, 0)
        assert (await master.end_of("t1")).exit_code == 0


async def test_a_worker_without_work_joins_another_cluster(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """A master on the memory store is another cluster after each start."""
    async with running_worker(tmp_path, runtime, master.url):
        runtime.end(await start(master, runtime), 0)
        await master.end_of()
        master.cluster_id = "cluster-2"
        master.beats.clear()
        await master.hang_up()
        await connected(master)
        await master.send(Assign(items=(assignment("t2"),)))
        await master.running("t2")
        assert "podling-cluster-2-t2-1" in runtime.containers


async def test_logs_of_an_old_cluster_are_not_brought_to_the_new_one(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    master.tail_status = 503
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        runtime.write(container, "of the old one\n")
        runtime.end(container, 0)
        await master.end_of()
        master.cluster_id, master.tail_status = "cluster-2", 200
        master.beats.clear()
        await master.hang_up()
        await connected(master)
        await master.send(Assign(items=(assignment("t2"),)))
        await master.running("t2")
        second = "podling-cluster-2-t2-1"
        runtime.write(second, "of the new one\n")
        runtime.end(second, 0)
        await master.until("its log is there", lambda: master.tails)
    assert {tail["taskId"] for tail in master.tails} == {"t2"}


async def test_only_a_new_journal_is_said_to_start_afresh(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """I10: what the node was given before that may have run, and nobody knows."""
    for _ in range(2):
        async with running_worker(tmp_path, runtime, master.url):
            await connected(master)
        master.beats.clear()
    assert [hello.starts_afresh for hello in master.hellos] == [True, False, False]


async def test_the_token_goes_with_every_connection(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url, token="secret-token-of-this-test"):
        await connected(master)
    assert {headers["Authorization"] for headers in master.headers} == {"Bearer secret-token-of-this-test"}


async def test_what_a_master_lends_for_the_session_goes_with_requests_to_that_master_alone(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """A log may be wanted at another master, and the next session is begun as the first one was."""
    master.lends = "lent-for-this-session"
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        await master.send(OpenStream(stream_id="s", path="/streams/s", task_id="t1", attempt=1, follow=True))
        runtime.write(container, "a line\n")
        await master.until("its output is streamed", lambda: master.stream_text("s") == b"a line\n")
        runtime.end(container, 0)
        await master.until("the end of its log is there", lambda: master.tails and master.facts)
        master.beats.clear()
        await master.hang_up()
        await connected(master)
    lent = "Bearer lent-for-this-session"
    assert master.shown == {"session": None, "stream": None, "tails": lent, "facts": lent}


async def test_a_stop_does_not_wait_for_a_master_that_takes_no_ends_of_logs(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait on disk for the next start."""
    monkeypatch.setattr("podling.worker.tails.RETRY_SECONDS", (60.0,))
    master.tail_status = 401
    async with running_worker(tmp_path, runtime, master.url, shutdown_timeout=60.0):  # it is given 10 s
        container = await start(master, runtime)
        runtime.write(container, "the end\n")
        runtime.end(container, 0)
        await master.until("its log's end is refused", lambda: "tails" in master.shown)
    master.tail_status = 200
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("it is brought by the next start", lambda: master.tails)
    assert master.tail_text() == b"the end\n"
