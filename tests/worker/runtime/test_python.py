"""Functions in processes of their own: ends, logs, limits, and what becomes of those who do not stop."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import Stream
from podling.core.spec import ContainerSpec
from podling.worker.runtime.base import Condition, ContainerWork, Found
from podling.worker.runtime.python import PythonRuntime
from podling.worker.runtime.python_child import Modules, discover
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, output_of, run, text_of

GOOD = "tests.worker.runtime.functions.good"


def function(task: str, handler: str, payload: Any = None, **more: Any) -> ContainerWork:
    return ContainerWork(
        engine_name=f"podling-c-{task}-1",
        task_id=task,
        attempt=1,
        container=ContainerSpec(stop_grace_seconds=0.2),
        network="bridge",
        handler=handler,
        payload=None if payload is None else orjson.dumps(payload).decode(),
        **more,
    )


@pytest.fixture
async def runtime(tmp_path: Path, recorder: Recorder) -> AsyncIterator[PythonRuntime]:
    runtime = PythonRuntime("c", tmp_path, (GOOD,), processes=1, slots=100)
    await runtime.open(recorder)
    yield runtime
    await runtime.close()


async def begin(runtime: PythonRuntime, work: ContainerWork) -> str:
    """Start it, and return its id once it has written its first line."""
    found = await runtime.prepare(work)
    await runtime.start(found.container_id)
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for _ in runtime.logs(found.container_id, follow=True):
            break
    return found.container_id


@pytest.mark.parametrize("name", ["noop", "noop.thread"])
async def test_a_function_ends_well_and_leaves_no_file(
    runtime: PythonRuntime, recorder: Recorder, tmp_path: Path, name: str
) -> None:
    works = [function(f"t{number}", name, {"number": number}) for number in range(100)]
    ends = await asyncio.gather(*(run(runtime, recorder, work) for work in works))
    assert {(end.condition, end.exit_code, end.error_code) for end in ends} == {(Condition.EXITED, 0, None)}
    assert list((tmp_path / "functions").iterdir()) == []
    for end in ends:
        await runtime.remove(end.container_id)
    assert await runtime.inventory() == []


async def test_what_it_prints_and_logs_is_its_own_log(runtime: PythonRuntime, recorder: Recorder) -> None:
    works = [function(f"t{number}", "say", f"hello-{number}") for number in range(20)]
    ends = await asyncio.gather(*(run(runtime, recorder, work) for work in works))
    for number, end in enumerate(ends):
        records = await output_of(runtime, end.container_id, follow=True)
        expected = f"hello-{number} t{number} 1 say\nhalf a line\nbytes\nno end"
        assert text_of(records) == expected.encode()
        assert text_of(records, Stream.STDERR) == b"to stderr\nINFO shop: logged\n"
        assert [record.at for record in records] == sorted(record.at for record in records)
        half = [record async for record in runtime.logs(end.container_id, since=records[-1].at)]
        assert half[-1] == records[-1]


async def test_threads_have_logs_of_their_own(runtime: PythonRuntime, recorder: Recorder) -> None:
    works = [function(f"t{number}", "say.thread", number) for number in range(20)]
    ends = await asyncio.gather(*(run(runtime, recorder, work) for work in works))
    for number, end in enumerate(ends):
        text = text_of(await output_of(runtime, end.container_id))
        assert text == "".join(f"{number} {line}\n" for line in range(3)).encode()


@pytest.mark.parametrize("name", ["raise", "raise.async"])
@pytest.mark.parametrize(
    ("payload", "code", "error"),
    [
        ("retry", "DEPENDENCY_DOWN", "the shop is closed"),
        ("fail", "BAD_PAYLOAD", "BAD_PAYLOAD"),
        ("value", "UNKNOWN", "ValueError: wrong (good.py:"),
        ("exit", "PANIC", "SystemExit: 3 (good.py:"),
        ("code", "UNKNOWN", "ValueError: Retry('NONE_SUCH'): the code must be one of DEPENDENCY_DOWN,"),
    ],
)
async def test_what_it_raises_becomes_a_code(
    runtime: PythonRuntime, recorder: Recorder, name: str, payload: str, code: str, error: str
) -> None:
    end = await run(runtime, recorder, function("t", name, payload))
    assert (end.exit_code, end.error_code) == (None, code)
    assert (end.error or "").startswith(error)
    log = text_of(await output_of(runtime, end.container_id), Stream.STDERR).decode()
    assert ("Traceback" in log) == (code in ("UNKNOWN", "PANIC"))
    again = await run(runtime, recorder, function("t2", "noop"))
    assert again.exit_code == 0


@pytest.mark.parametrize("name", ["wait", "wait.thread"])
async def test_a_stop_cancels_it(
    runtime: PythonRuntime, recorder: Recorder, tmp_path: Path, name: str
) -> None:
    name_of = await begin(runtime, function("t", name, str(tmp_path / "never")))
    await runtime.stop(name_of, None, 10)
    end = await recorder.exit_of(name_of)
    assert end.error_code == ("CANCELLED" if name == "wait" else None)
    assert text_of(await output_of(runtime, name_of)) == b"waiting\ncancelled\n"


async def test_what_is_stopped_before_it_began_ends_too(runtime: PythonRuntime, recorder: Recorder) -> None:
    found = await runtime.prepare(function("t", "slow"))
    await runtime.start(found.container_id)
    await runtime.stop(found.container_id, None, 10)
    assert (await recorder.exit_of(found.container_id)).error_code == "CANCELLED"


@pytest.mark.parametrize("name", ["hang", "block"])
async def test_what_does_not_stop_is_ended_with_its_process(
    runtime: PythonRuntime, recorder: Recorder, tmp_path: Path, name: str
) -> None:
    other = await begin(runtime, function("other", "wait.thread", str(tmp_path / "never")))
    hanging = await begin(runtime, function("t", name))
    await runtime.stop(hanging, None, 0.2)
    end = await recorder.exit_of(hanging)
    assert (end.error_code, end.exit_code) == ("CANCELLED", 137)
    end = await recorder.exit_of(other)
    assert end.error_code == "RUNTIME"  # a loss, and not its own failure
    assert end.error == "its process was ended because task t, which ran in it too, did not stop"
    assert (await run(runtime, recorder, function("t2", "noop"))).exit_code == 0


async def test_a_timeout_of_the_handler(runtime: PythonRuntime, recorder: Recorder) -> None:
    end = await run(runtime, recorder, function("t", "slow"))
    assert end.error_code == "TIMEOUT"
    assert end.error == "it ran longer than 0.1 s, the timeout of its handler"


async def test_a_crash_fails_what_ran_there_and_nothing_else(tmp_path: Path, recorder: Recorder) -> None:
    runtime = PythonRuntime("c", tmp_path, (GOOD,), processes=2, slots=100)
    await runtime.open(recorder)
    here = await begin(runtime, function("here", "wait.thread", str(tmp_path / "go")))
    crash = await run(runtime, recorder, function("t", "crash", 3))
    assert crash.error_code == "PANIC"
    assert crash.error == "the process that ran it ended (exit code 3)"
    assert text_of(await output_of(runtime, crash.container_id)) == b"crashing\n"
    (tmp_path / "go").touch()
    assert (await recorder.exit_of(here)).exit_code == 0
    assert await runtime.check() is None
    await runtime.close()


async def test_a_process_that_is_killed_is_replaced(runtime: PythonRuntime, recorder: Recorder) -> None:
    for number in range(3):
        end = await run(runtime, recorder, function(f"p{number}", "process"))
        pid = int(text_of(await output_of(runtime, end.container_id)).split()[0])
        hanging = await begin(runtime, function(f"t{number}", "hang"))
        os.kill(pid, signal.SIGKILL)
        end = await recorder.exit_of(hanging)
        assert (end.error_code, end.error) == ("PANIC", "the process that ran it ended (signal 9)")


async def test_a_handler_has_only_so_many_places(
    runtime: PythonRuntime, recorder: Recorder, tmp_path: Path
) -> None:
    for task in ("a", "b"):
        await begin(runtime, function(task, "wait", str(tmp_path / "go")))
    third = await runtime.prepare(function("c", "wait", str(tmp_path / "go")))
    with pytest.raises(RuntimeFailure, match="All 2 places of handler wait are taken") as raised:
        await runtime.start(third.container_id)
    assert raised.value.code == "RUNTIME"  # the agent asks again
    (tmp_path / "go").touch()
    await recorder.exit_of("podling-c-a-1")
    await runtime.start(third.container_id)
    assert (await recorder.exit_of(third.container_id)).exit_code == 0


async def test_an_unknown_handler_is_refused(runtime: PythonRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="has no handler nobody") as raised:
        await runtime.prepare(function("t", "nobody"))
    assert raised.value.code == "UNKNOWN_JOB_TYPE"


async def test_it_sees_the_environment_without_the_worker_s_settings(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PODLING_JOIN", "DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_READ_URL"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("SHOP", "open")
    runtime = PythonRuntime("c", tmp_path, (GOOD,), processes=1, slots=1)
    await runtime.open(recorder)
    end = await run(runtime, recorder, function("t", "process"))
    assert text_of(await output_of(runtime, end.container_id)).split()[1:] == [b"None"] * 4 + [b"open"]
    await runtime.close()


async def test_logs_of_a_worker_before_are_there_with_a_reason(
    tmp_path: Path, runtime: PythonRuntime, recorder: Recorder
) -> None:
    name = await begin(runtime, function("t", "hang"))
    after = PythonRuntime("c", tmp_path, (GOOD,), processes=1, slots=1)
    await after.open(recorder)
    (left,) = await after.inventory()
    assert (left.condition, left.error_code, left.exit_code) == (Condition.EXITED, "EXTERNAL", None)
    assert (left.task_id, left.attempt, left.container_id) == ("t", 1, name)
    assert text_of(await output_of(after, name)) == b"hanging\n"
    await after.remove(name)
    assert list((tmp_path / "functions").iterdir()) == []
    await after.close()


async def test_all_handlers_are_found(tmp_path: Path) -> None:
    offers = await discover(Modules(names=(GOOD,), logs=tmp_path, threads=1))
    assert (offers["wait"].concurrency, offers["wait"].is_async) == (2, True)
    assert (offers["slow"].timeout_seconds, offers["hang"].is_async) == (0.1, False)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("broken", r"broken cannot be imported: RuntimeError: the shop has no address \(broken.py:3\)"),
        ("empty", "no function is registered by @handler in tests.worker.runtime.functions.empty"),
        ("nowhere", "nowhere cannot be imported: ModuleNotFoundError"),
    ],
)
async def test_a_module_without_functions_is_told_in_a_sentence(
    tmp_path: Path, recorder: Recorder, module: str, sentence: str
) -> None:
    name = f"tests.worker.runtime.functions.{module}"
    runtime = PythonRuntime("c", tmp_path, (name,), processes=1, slots=1)
    with pytest.raises(RuntimeFailure, match=sentence):
        await runtime.open(recorder)


async def test_many_lines_follow_in_order(runtime: PythonRuntime, recorder: Recorder) -> None:
    found: Found = await runtime.prepare(function("t", "say.thread", "x"))
    await runtime.start(found.container_id)
    assert text_of(await output_of(runtime, found.container_id, follow=True)) == b"x 0\nx 1\nx 2\n"
