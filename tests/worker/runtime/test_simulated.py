"""The runtime that runs nothing."""

import asyncio
from datetime import UTC, datetime

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.spec import ContainerSpec
from podling.worker.runtime.base import Condition
from podling.worker.runtime.simulated import SimulatedRuntime
from tests.worker.runtime.recorder import Recorder, output_of, run, work_of


@pytest.fixture
async def runtime(recorder: Recorder) -> SimulatedRuntime:
    runtime = SimulatedRuntime()
    await runtime.open(recorder)
    return runtime


def simulated(seconds: str = "0", exit_code: str = "0") -> ContainerSpec:
    return ContainerSpec(env={"PODLING_SIMULATE_SECONDS": seconds, "PODLING_SIMULATE_EXIT_CODE": exit_code})


async def test_ends_as_its_environment_says(runtime: SimulatedRuntime, recorder: Recorder) -> None:
    begin = datetime.now(UTC)
    found = await run(runtime, recorder, work_of("slow", simulated("0.05", "3")))
    assert found.exit_code == 3
    assert found.finished_at is not None
    assert (found.finished_at - begin).total_seconds() >= 0.05
    assert await output_of(runtime, "slow") == []


async def test_many_end_at_once(runtime: SimulatedRuntime, recorder: Recorder) -> None:
    works = [work_of(f"s-{n}", ContainerSpec()) for n in range(1000)]
    found = await asyncio.gather(*(run(runtime, recorder, work) for work in works))
    assert {one.exit_code for one in found} == {0}
    assert len(await runtime.inventory()) == 1000


async def test_is_started_once_stopped_and_restarted(runtime: SimulatedRuntime, recorder: Recorder) -> None:
    work = work_of("long", simulated("1000"))
    assert (await runtime.prepare(work)).condition is Condition.CREATED
    first = await runtime.start("long")
    assert (await runtime.prepare(work)) == await runtime.start("long") == first
    await runtime.stop("long", None, 10)
    assert (await recorder.exit_of("long")).exit_code == 143
    assert (await runtime.start("long")).condition is Condition.EXITED
    assert (await runtime.restart("long")).condition is Condition.RUNNING
    await runtime.stop("long", None, 0)
    assert (await recorder.exit_of("long", count=2)).exit_code == 137


async def test_what_was_removed_is_not_there(runtime: SimulatedRuntime) -> None:
    await runtime.prepare(work_of("gone", simulated("1000")))
    await runtime.start("gone")
    await runtime.remove("gone")
    await runtime.remove("gone")
    assert await runtime.inventory() == []
    with pytest.raises(RuntimeFailure, match="not there"):
        await runtime.start("gone")


async def test_nonsense_is_refused_at_the_start(runtime: SimulatedRuntime) -> None:
    await runtime.prepare(work_of("odd", simulated("soon")))
    with pytest.raises(RuntimeFailure, match="PODLING_SIMULATE_SECONDS"):
        await runtime.start("odd")
