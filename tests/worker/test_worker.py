"""A worker from assignment to end, over the session, with stops, restarts and lost masters."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from podling.core.errors import ConfigurationError, RuntimeFailure
from podling.core.protocol import AttemptKey, HeldState, ReportKind, StopOrder
from podling.core.spec import ContainerSpec, OnDisconnect, OnLost, RestartPolicy, TaskKind
from podling.core.task import StopReason
from podling.wire.session import SUBPROTOCOLS, Assign, Desired, Drain, Goodbye, OpenStream, Stop
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import PATIENCE_SECONDS, SmallMaster, small_master

CANCEL = StopOrder(task_id="t1", attempt=1, reason=StopReason.CANCEL)


async def start(master: SmallMaster, runtime: MemoryRuntime, **spec: object) -> str:
    """Have task t1 run, and return its container."""
    await connected(master)
    await master.send(Assign(items=(assignment(**spec),)))
    await master.running()
    return runtime.one()


async def connected(master: SmallMaster) -> None:
    await master.until("the worker is connected", lambda: master.beats)


async def test_runs_an_assignment_to_its_end(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        runtime.write(container, "hello\n")
        runtime.end(container, 0)
        end = await master.end_of()
        await master.until("the log's end is there", lambda: master.tails)
    assert (end.kind, end.exit_code, end.error_code) == (ReportKind.ENDED, 0, None)
    assert end.started_at is not None and end.finished_at is not None
    assert container == "podling-cluster-1-t1-1"
    assert master.tail_text() == b"hello\n"
    assert runtime.containers == {}


async def test_an_assignment_given_twice_runs_once(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        await master.send(Assign(items=(assignment(),)))
        runtime.end(container, 0)
        await master.end_of()
        await master.send(Assign(items=(assignment(),)))
        await master.until("it is told again that it has ended", lambda: len(master.ends()) == 2)
    assert runtime.starts == [container]


async def test_cancel_stops_with_the_grace(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        spec = ContainerSpec(image="busybox:local", stop_grace_seconds=3.0)
        container = await start(master, runtime, containers=(spec,))
        await master.send(Stop(items=(CANCEL,)))
        end = await master.end_of()
    assert runtime.stops == [(container, 3.0)]
    assert (end.stopped_by, end.error_code, end.exit_code) == (StopReason.CANCEL, "CANCELLED", 143)


async def test_a_stop_before_the_start_never_starts(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """I13: while its image is pulled, it is cancelled; the end does not wait for the pull."""
    runtime.may_prepare.clear()
    async with running_worker(tmp_path, runtime, master.url):
        await connected(master)
        await master.send(Assign(items=(assignment(),)))
        await master.send(Stop(items=(CANCEL,)))
        end = await master.end_of()
        assert end.never_started and end.stopped_by is StopReason.CANCEL
        runtime.may_prepare.set()
    assert runtime.starts == [] and runtime.containers == {}


async def test_a_restarted_worker_adopts_what_runs(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """I16: what runs goes on, what ended meanwhile is reported, and nothing is started twice."""
    async with running_worker(tmp_path, runtime, master.url, crash=True):
        first = await start(master, runtime)
        await master.send(Assign(items=(assignment("t2"),)))
        await master.running("t2")
        second = next(name for name in runtime.containers if name != first)
    runtime.end(second, 7)
    master.reports.clear()
    async with running_worker(tmp_path, runtime, master.url):
        await master.running("t1")
        assert (await master.end_of("t2")).exit_code == 7
        held = {item.task_id: item.state for item in master.hellos[-1].held}
        assert held["t1"] is HeldState.RUNNING
        runtime.end(first, 0)
        assert (await master.end_of("t1")).exit_code == 0
    assert sorted(runtime.starts) == sorted([first, second])


async def test_an_end_without_an_answer_is_told_after_a_restart(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    """I15: the outbox outlives the program."""
    master.acknowledges_reports = False
    async with running_worker(tmp_path, runtime, master.url, crash=True):
        runtime.end(await start(master, runtime), 5)
        await master.end_of()
    assert runtime.containers, "removed before the end was acknowledged"
    master.reports.clear()
    master.acknowledges_reports = True
    async with running_worker(tmp_path, runtime, master.url):
        assert (await master.end_of()).exit_code == 5
    assert runtime.containers == {}


async def test_a_container_removed_by_hand_is_external(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        runtime.remove_by_hand(await start(master, runtime))
        end = await master.end_of()
    assert (end.error_code, end.exit_code) == ("EXTERNAL", None)


async def test_unknown_containers_of_its_own_are_removed(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path / "lost", runtime, master.url, crash=True):
        await start(master, runtime)
    async with running_worker(tmp_path / "new", runtime, master.url):
        await connected(master)
        master.changed()
        async with asyncio.timeout(5.0):
            while runtime.containers:
                await asyncio.sleep(0)
    assert runtime.containers == {}


@pytest.mark.parametrize("starts_before", [0, 1])
async def test_a_runtime_that_hangs_at_the_start_does_not_hold_up_a_stop(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster, starts_before: int
) -> None:
    for _ in range(starts_before):
        async with running_worker(tmp_path, runtime, master.url):
            await connected(master)
    runtime.may_open.clear()
    async with running_worker(tmp_path, runtime, master.url):
        await asyncio.sleep(0)
    assert len(master.hellos) == 2 * starts_before


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


async def test_a_restart_policy_starts_the_same_container_again(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime, restart_policy=RestartPolicy.ON_FAILURE)
        runtime.end(container, 1)
        await master.until(
            "it is started again", lambda: any(r.containers[0].restart_count == 1 for r in master.reports)
        )
        await master.until("and runs", lambda: runtime.there(container).condition == "running")
        runtime.end(container, 0)
        end = await master.end_of()
    assert runtime.starts == [container, container]
    assert (end.error_code, end.containers[0].restart_count) == (None, 1)


async def test_siblings_share_one_fate(tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster) -> None:
    pair = tuple(ContainerSpec(name=name, image="busybox:local") for name in ("web", "side"))
    async with running_worker(tmp_path, runtime, master.url):
        await connected(master)
        await master.send(Assign(items=(assignment(containers=pair, kind=TaskKind.POD),)))
        await master.running()
        runtime.end("podling-cluster-1-t1-1-side", 3)
        end = await master.end_of()
    assert (end.error_code, end.exit_code, end.error) == ("EXIT_CODE", 3, "side: exit code 3")
    assert [name for name, _ in runtime.stops] == ["podling-cluster-1-t1-1-web"]
    assert [one.exit_code for one in end.containers] == [143, 3]


async def test_a_timeout_is_told_as_such(tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await start(master, runtime, timeout_seconds=0.1)
        end = await master.end_of()
    assert (end.error_code, end.stopped_by) == ("TIMEOUT", StopReason.TIMEOUT)


async def test_a_failed_prepare_keeps_its_code(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    runtime.failing["prepare"] = RuntimeFailure("no such image", code="IMAGE_PULL")
    async with running_worker(tmp_path, runtime, master.url):
        await connected(master)
        await master.send(Assign(items=(assignment(),)))
        end = await master.end_of()
    assert (end.error_code, end.error, end.never_started) == ("IMAGE_PULL", "no such image", True)


async def test_a_foreign_runtime_is_refused(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await connected(master)
        await master.send(Assign(items=(assignment(runtime="process"),)))
        end = await master.end_of()
    assert end.kind is ReportKind.REFUSED and end.error == "this worker has no runtime process"


async def test_forget_removes_what_is_left(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    master.acknowledges_reports = False
    async with running_worker(tmp_path, runtime, master.url):
        runtime.end(await start(master, runtime), 0)
        await master.end_of()
        await master.send(Desired(forget=(AttemptKey(task_id="t1", attempt=1),)))
        async with asyncio.timeout(5.0):
            while runtime.containers:
                await asyncio.sleep(0)


async def test_logs_are_streamed_while_it_runs(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        container = await start(master, runtime)
        for line in ("one\n", "two\n", "three\n"):
            runtime.write(container, line)
        request = OpenStream(stream_id="s1", path="/streams/s1", task_id="t1", attempt=1, tail=2, follow=True)
        await master.send(request)
        await master.until("the last lines came", lambda: master.stream_text("s1") == b"two\nthree\n")
        runtime.write(container, "four\n")
        await master.until("the next one came", lambda: master.stream_text("s1").endswith(b"four\n"))
        assert "s1" not in master.ended_streams
        runtime.end(container, 0)
        await master.until("the end was told", lambda: "s1" in master.ended_streams)
    assert master.stream_text("s1") == b"two\nthree\nfour\n"


async def test_a_stream_of_nothing_is_refused(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await connected(master)
        await master.send(OpenStream(stream_id="s1", path="/streams/s1", task_id="nope", attempt=1))
        await master.until("it is refused", lambda: master.refusals)
    assert master.refusals[0].error == "attempt not found"


async def test_a_final_tail_waits_until_it_is_taken(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    master.tail_status = 503
    async with running_worker(tmp_path, runtime, master.url, crash=True):
        container = await start(master, runtime)
        runtime.write(container, "last words\n")
        runtime.end(container, 1)
        await master.end_of()
        await master.until("removed", lambda: not runtime.containers or master.changed())
    master.tail_status = 200
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the tail came", lambda: master.tails)
    assert master.tail_text() == b"last words\n"


async def test_its_api_shows_state_and_logs(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url), aiohttp.ClientSession() as http:
        container = await start(master, runtime)
        runtime.write(container, "one\ntwo\n")
        base = f"http://127.0.0.1:{master.hellos[-1].port}"
        async with http.get(f"{base}/health") as answer:
            assert answer.status == 200
        async with http.get(f"{base}/api/v1/tasks/t1/status") as answer:
            assert (await answer.json())["status"] == "running"
        async with http.get(f"{base}/api/v1/tasks/t1/logs?tail=1") as answer:
            assert (await answer.text()).endswith("two\n")
        async with http.get(f"{base}/metrics") as answer:
            told = await answer.text()
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'podling_worker_attempts{state="running"} 1.0' in told
        assert "podling_worker_containers_running 1.0" in told
        writes = re.search(r"^podling_worker_journal_write_seconds_count ([0-9.]+)$", told, re.MULTILINE)
        assert writes is not None
        assert float(writes[1]) >= 2
        for path, status, code in (
            ("tasks/t9/status", 404, "task_not_found"),
            ("nodes", 421, "not_a_master"),
            ("tasks/t1", 421, "not_a_master"),
            ("tasks/t1/logs?tail=-1", 400, "invalid_field"),
            ("pods/t1/logs?container=nope", 404, "container_not_found"),
        ):
            async with http.get(f"{base}/api/v1/{path}") as answer:
                assert (answer.status, (await answer.json())["code"]) == (status, code)
        async with http.get(f"{base}/health", headers={"X-Big": "x" * 20_000}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "header_too_large")


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
