"""A worker from assignment to end, over the session, with stops, restarts and lost masters."""

import asyncio
import re
import socket
from pathlib import Path

import aiohttp
import pytest

from podling.core.errors import RuntimeFailure
from podling.core.protocol import AttemptKey, HeldState, ReportKind, StopOrder
from podling.core.spec import ContainerSpec, RestartPolicy, TaskKind
from podling.core.task import StopReason
from podling.wire.session import Assign, Desired, OpenStream, Stop
from tests.worker.conftest import assignment, connected, running_worker, start
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster

CANCEL = StopOrder(task_id="t1", attempt=1, reason=StopReason.CANCEL)


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


async def test_without_an_api_it_works_and_takes_no_port(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # by somebody else, whom it does not mind
        async with running_worker(tmp_path, runtime, master.url, port=port, has_api=False):
            await start(master, runtime)
        assert master.hellos[0].port == port
