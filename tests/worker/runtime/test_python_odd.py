"""Functions that do what one does not expect: they end all the same, and leave nothing behind."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from podling.core.errors import InvalidInput, RuntimeFailure
from podling.handlers import handler
from podling.worker.runtime.python import PythonRuntime
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, output_of, run, text_of
from tests.worker.runtime.test_python import begin, function

ODD = "tests.worker.runtime.functions.odd"


@pytest.fixture
async def runtime(tmp_path: Path, recorder: Recorder) -> AsyncIterator[PythonRuntime]:
    runtime = PythonRuntime("c", tmp_path, (ODD,), processes=1, slots=10)
    await runtime.open(recorder)
    yield runtime
    await runtime.close()


@pytest.mark.parametrize(
    ("payload", "code", "error"),
    [
        ("fail", "BAD_PAYLOAD", r"no \udcff"),
        ("raise", "UNKNOWN", r"ValueError: no \udcff\x00 file (odd.py:"),
    ],
)
async def test_an_error_that_is_no_text_ends_it_too(
    runtime: PythonRuntime, recorder: Recorder, payload: str, code: str, error: str
) -> None:
    end = await run(runtime, recorder, function("t", "unsayable", payload))
    assert end.error_code == code and (end.error or "").startswith(error)


async def test_what_is_raised_in_a_group_of_one_is_what_it_says(
    runtime: PythonRuntime, recorder: Recorder
) -> None:
    end = await run(runtime, recorder, function("t", "group"))
    assert (end.error_code, end.error) == ("BAD_PAYLOAD", "there is no address")


async def test_a_coroutine_that_nobody_awaits_is_no_success(
    runtime: PythonRuntime, recorder: Recorder
) -> None:
    end = await run(runtime, recorder, function("t", "unawaited"))
    assert end.error_code == "UNKNOWN"
    assert (end.error or "").startswith("TypeError: it returned something to await: declare the handler")


async def test_an_object_whose_call_is_async_is_run(runtime: PythonRuntime, recorder: Recorder) -> None:
    end = await run(runtime, recorder, function("t", "object"))
    assert (end.exit_code, text_of(await output_of(runtime, end.container_id))) == (0, b"hello\n")


@pytest.mark.parametrize("how", ["stopped", "closed"])
async def test_the_programs_that_it_started_end_with_its_process(
    runtime: PythonRuntime, recorder: Recorder, how: str
) -> None:
    name = await begin(runtime, function("t", "program"))
    pid = int(text_of(await output_of(runtime, name)))
    assert os.getsid(pid) != os.getsid(0), "what a terminal sends its programs is for the worker alone"
    if how == "stopped":
        await runtime.stop(name, None, 0.1)
        assert (await recorder.exit_of(name)).error_code == "CANCELLED"
    else:
        await runtime.close()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while _runs(pid):
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether it is there, and not only waited for by nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


async def test_places_are_counted_when_a_process_is_there_to_give_them(
    runtime: PythonRuntime, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ask while no process is there; only one has a place."""
    runtime._ready.clear()
    works = [await runtime.prepare(function(task, "single")) for task in ("a", "b")]
    starts = [asyncio.create_task(runtime.start(work.container_id)) for work in works]
    await asyncio.sleep(0)
    runtime._ready.set()
    results = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(result, RuntimeFailure) for result in results) == 1


def _generate(payload: Any, context: Any) -> Any:
    yield payload


async def _generate_async(payload: Any, context: Any) -> Any:
    yield payload


@pytest.mark.parametrize("function", [_generate, _generate_async])
def test_a_function_that_would_not_run_when_called_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="has a yield, so that calling it runs nothing"):
        handler("generator")(function)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e18])
def test_a_timeout_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInput, match="timeout_seconds"):
        handler("slow", timeout_seconds=seconds)


@pytest.mark.parametrize("places", [0, -1, 2.5])
def test_a_number_of_places_that_cannot_be_is_refused(places: Any) -> None:
    with pytest.raises(ValueError, match="concurrency must be a whole number from 1"):
        handler("slow", concurrency=places)
