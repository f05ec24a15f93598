"""No two attempts have the same GPU, through restarts of containers and of the worker."""

from pathlib import Path

from podling.core.protocol import Assignment, StopOrder
from podling.core.spec import ContainerSpec, ResourceRequirements, RestartPolicy
from podling.core.task import StopReason
from podling.wire.session import Assign, Stop
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster

IDS = ("GPU-a", "GPU-b")


def wanting(task_id: str, count: int = 1) -> Assignment:
    resources = ResourceRequirements(limits={"gpu": count})
    container = ContainerSpec(image="busybox:local", resources=resources)
    return assignment(task_id, containers=(container,), restart_policy=RestartPolicy.ALWAYS)


def given(runtime: MemoryRuntime, task_id: str) -> tuple[str, ...]:
    return runtime.containers[f"podling-cluster-1-{task_id}-1"].gpus


async def test_gpus_are_given_to_one_attempt_at_a_time_until_its_end(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    master.acknowledges_reports = False  # what has ended stays there
    async with running_worker(tmp_path, runtime, master.url, gpus=IDS):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(wanting("t1"), wanting("t2"))))
        await master.running("t1")
        await master.running("t2")
        assert {given(runtime, "t1"), given(runtime, "t2")} == {("GPU-a",), ("GPU-b",)}
        runtime.end("podling-cluster-1-t1-1", 1)  # it will be started again, and keeps its GPU
        await master.send(Assign(items=(wanting("t3"),)))
        refused = await master.end_of("t3")
        assert refused.error_code == "RUNTIME"
        assert refused.error == "The node has 0 GPUs that no other task has, and 1 are wanted."
        await master.send(Stop(items=(StopOrder(task_id="t2", attempt=1, reason=StopReason.CANCEL),)))
        await master.end_of("t2")
        await master.send(Assign(items=(wanting("t4"),)))
        await master.running("t4")
        assert given(runtime, "t4") == given(runtime, "t2")


async def test_a_worker_started_again_knows_what_is_taken(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url, gpus=IDS, crash=True):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(wanting("t1"),)))
        await master.running("t1")
    assert given(runtime, "t1") == ("GPU-a",)
    beats = len(master.beats)
    async with running_worker(tmp_path, runtime, master.url, gpus=IDS):
        await master.until("the worker is connected", lambda: len(master.beats) > beats)
        await master.send(Assign(items=(wanting("t2"),)))
        await master.running("t2")
        assert given(runtime, "t2") == ("GPU-b",)


async def test_without_ids_the_engine_chooses(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(wanting("t1"),)))
        await master.running("t1")
        assert given(runtime, "t1") == ()
