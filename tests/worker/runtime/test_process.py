"""Processes under a keeper: what is known of them through every kill."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import Stream
from podling.core.spec import ContainerSpec
from podling.worker.runtime import process_user
from podling.worker.runtime.base import Condition
from podling.worker.runtime.keeper_system import start_ticks
from podling.worker.runtime.process import ProcessRuntime
from tests.worker.runtime.processes import ended, first_line, keeper_of, runtime_in, shell
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, output_of, run, text_of, work_of


@pytest.fixture
async def runtime(tmp_path: Path, recorder: Recorder) -> AsyncIterator[ProcessRuntime]:
    runtime = runtime_in(tmp_path)
    await runtime.open(recorder)
    yield runtime
    for found in await runtime.inventory():
        await runtime.remove(found.container_id)
    await runtime.close()


async def keeper_is_back(runtime: ProcessRuntime) -> None:
    """Return when another keeper serves in place of a killed one."""
    with suppress(RuntimeFailure):
        await runtime.inventory()  # notices the end, at the latest
    await runtime.inventory()


async def test_who_is_cancelled_as_the_answer_comes_ends(runtime: ProcessRuntime) -> None:
    """A part of the worker that goes on after its cancellation keeps the worker from its stop."""
    asking = asyncio.create_task(runtime.inventory())
    while not (waiting := runtime._line._waiting):
        await asyncio.sleep(0)
    ((number, answer),) = waiting.items()

    def come(reply: dict[str, Any]) -> None:
        answer.set_result(reply)
        asking.cancel()

    waiting[number] = Mock(done=answer.done, set_result=come)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_exit_codes_and_times_are_told(runtime: ProcessRuntime, recorder: Recorder) -> None:
    for code in (0, 3, 255):
        found = await run(runtime, recorder, work_of(f"exit-{code}", shell(f"exit {code}")))
        assert (found.exit_code, found.error_code) == (code, None)
        assert found.started_at is not None and found.finished_at is not None
        assert found.started_at <= found.finished_at


async def test_end_by_signal_is_128_and_its_number(runtime: ProcessRuntime, recorder: Recorder) -> None:
    found = await run(runtime, recorder, work_of("signal", shell("kill -9 $$")))
    assert found.exit_code == 137


async def test_sees_only_the_environment_of_its_task(
    runtime: ProcessRuntime, recorder: Recorder, tmp_path: Path
) -> None:
    spec = shell("env; pwd", env={"COLOUR": "blue"}, working_dir=str(tmp_path))
    work = replace(work_of("env", spec), environment={"PODLING_TASK_ID": "task-1"})
    await run(runtime, recorder, work)
    *lines, folder = text_of(await output_of(runtime, "env")).decode().split()
    names = {line.partition("=")[0] for line in lines}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "COLOUR", "PODLING_TASK_ID"}
    assert folder == str(tmp_path)


async def test_stop_sends_the_signal_then_kill_to_the_whole_group(
    runtime: ProcessRuntime, recorder: Recorder
) -> None:
    script = "trap '' TERM; sleep 1000 & echo $!; wait; wait"
    prepared = await runtime.prepare(work_of("stubborn", shell(script)))
    await runtime.start(prepared.container_id)
    child = int(await first_line(runtime, "stubborn"))
    await runtime.stop("stubborn", "SIGTERM", 0.2)
    assert (await recorder.exit_of("stubborn")).exit_code == 137
    await ended(child)


async def test_stop_lets_it_end_within_its_grace(runtime: ProcessRuntime, recorder: Recorder) -> None:
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    await runtime.prepare(work_of("gentle", shell(script)))
    await runtime.start("gentle")
    await first_line(runtime, "gentle")
    await runtime.stop("gentle", "SIGUSR1", 30)
    assert (await recorder.exit_of("gentle")).exit_code == 7


async def test_repeated_prepare_and_start_run_it_once(
    runtime: ProcessRuntime, recorder: Recorder, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    work = work_of("once", shell(f"echo run >>{ledger}"))
    await run(runtime, recorder, work)
    assert (await runtime.prepare(work)).condition is Condition.EXITED
    assert (await runtime.start("once")).exit_code == 0
    assert ledger.read_text() == "run\n"


async def test_restart_runs_it_again_and_keeps_its_output(
    runtime: ProcessRuntime, recorder: Recorder
) -> None:
    await run(runtime, recorder, work_of("again", shell("echo hello; exit 4")))
    found = await runtime.restart("again")
    assert found.condition is not Condition.CREATED
    assert (await recorder.exit_of("again", count=2)).exit_code == 4
    assert text_of(await output_of(runtime, "again")) == b"hello\nhello\n"


async def test_streams_stay_apart_and_bytes_stay_what_they_are(
    runtime: ProcessRuntime, recorder: Recorder
) -> None:
    await run(runtime, recorder, work_of("bytes", shell(r"printf 'a\377b\nrest'; echo bad >&2")))
    records = await output_of(runtime, "bytes")
    assert text_of(records) == b"a\xffb\nrest"
    assert text_of(records, Stream.STDERR) == b"bad\n"


async def test_follow_gives_all_until_the_end_and_since_gives_the_rest(
    runtime: ProcessRuntime, recorder: Recorder
) -> None:
    script = "echo one; sleep 0.2; echo two"
    await runtime.prepare(work_of("follow", shell(script)))
    await runtime.start("follow")
    records = await output_of(runtime, "follow", follow=True)
    assert text_of(records) == b"one\ntwo\n"
    later = [record async for record in runtime.logs("follow", since=records[-1].at)]
    assert text_of(later) == b"two\n"
    assert [record.at for record in await output_of(runtime, "follow")] == [r.at for r in records]


@pytest.mark.parametrize(
    ("spec", "code", "part"),
    [
        (ContainerSpec(), "CREATE", "needs a command"),
        (ContainerSpec(command=("no-such-command",)), "START", "no-such-command was not found"),
        (ContainerSpec(command=("/etc/passwd",)), "START", "Permission denied"),
        (ContainerSpec(command=("true",), working_dir="/none"), "START", "directory /none cannot be entered"),
        (ContainerSpec(command=("true",), user="nobody-at-all"), "CREATE", "no user nobody-at-all"),
        (ContainerSpec(command=("true",), user="nobody:no-group"), "CREATE", "no group no-group"),
    ],
)
async def test_what_cannot_run_is_refused_with_a_sentence(
    runtime: ProcessRuntime, spec: ContainerSpec, code: str, part: str
) -> None:
    with pytest.raises(RuntimeFailure, match=part) as caught:
        await runtime.prepare(work_of("refused", spec))
        await runtime.start("refused")
    assert caught.value.code == code
    assert await runtime.inventory() == []


@pytest.mark.parametrize("user", [None, "root", "0", "nobody:0"])
async def test_root_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch, user: str | None) -> None:
    monkeypatch.setattr(process_user.os, "geteuid", lambda: 0)
    with pytest.raises(RuntimeFailure) as caught:
        await process_user.identity(user, allow_root=False)
    assert caught.value.code == "CREATE"
    assert "root" in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
async def test_runs_as_the_named_user_without_any_right_of_the_worker(
    tmp_path: Path, recorder: Recorder
) -> None:
    runtime = ProcessRuntime(tmp_path, linger_seconds=0.2)
    await runtime.open(recorder)
    await run(runtime, recorder, work_of("who", shell("id -u; id -G; echo $HOME", user="65534:65534")))
    assert text_of(await output_of(runtime, "who")).split()[:2] == [b"65534", b"65534"]
    await runtime.close()


async def test_many_at_once(runtime: ProcessRuntime, recorder: Recorder) -> None:
    works = [work_of(f"many-{n}", shell(f"exit {n % 7}")) for n in range(100)]
    found = await asyncio.gather(*(run(runtime, recorder, work) for work in works))
    assert [f.exit_code for f in found] == [n % 7 for n in range(100)]


async def test_a_reader_that_leaves_leaves_nothing_waiting(runtime: ProcessRuntime) -> None:
    await runtime.prepare(work_of("long", shell("echo ready; sleep 1000")))
    await runtime.start("long")
    before = asyncio.all_tasks()
    for _ in range(5):
        async with asyncio.timeout(DEADLINE_SECONDS), aclosing(runtime.logs("long", follow=True)) as records:
            assert (await anext(records)).data == b"ready\n"
            waiting = asyncio.ensure_future(anext(records))
            while not asyncio.all_tasks() - before - {waiting}:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_killed_keeper_leaves_processes_running_and_their_exit_unknown(
    runtime: ProcessRuntime, recorder: Recorder, tmp_path: Path
) -> None:
    script = f"echo $$; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done; exit 0"
    await runtime.prepare(work_of("orphan", shell(script)))
    await runtime.start("orphan")
    pid = int(await first_line(runtime, "orphan"))
    keeper = keeper_of(tmp_path)
    os.kill(keeper, signal.SIGKILL)
    await ended(keeper)
    await keeper_is_back(runtime)
    assert start_ticks(pid) is not None
    assert [one.condition for one in await runtime.inventory()] == [Condition.RUNNING]

    (tmp_path / "go").touch()
    found = await recorder.exit_of("orphan")
    assert (found.exit_code, found.error_code) == (None, "UNKNOWN_EXIT")
    assert found.error is not None and "cannot be known" in found.error
    assert text_of(await output_of(runtime, "orphan")).endswith(b"done\n")


async def test_an_orphan_can_be_stopped(runtime: ProcessRuntime, recorder: Recorder, tmp_path: Path) -> None:
    await runtime.prepare(work_of("orphan", shell("sleep 1000")))
    await runtime.start("orphan")
    keeper = keeper_of(tmp_path)
    os.kill(keeper, signal.SIGKILL)
    await ended(keeper)
    await keeper_is_back(runtime)
    await runtime.stop("orphan", None, 10)
    assert (await recorder.exit_of("orphan")).error_code == "UNKNOWN_EXIT"


async def test_remove_ends_what_runs_and_leaves_nothing(runtime: ProcessRuntime, tmp_path: Path) -> None:
    await runtime.prepare(work_of("removed", shell("echo $$; sleep 1000")))
    await runtime.start("removed")
    pid = int(await first_line(runtime, "removed"))
    await runtime.remove("removed")
    await ended(pid)
    assert await runtime.inventory() == []
    await runtime.remove("removed")
    with pytest.raises(RuntimeFailure, match="not there"):
        await output_of(runtime, "removed")
