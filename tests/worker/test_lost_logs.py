"""What an engine has thrown away of a log is said to be missing."""

from pathlib import Path

from podling.wire.session import Assign
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster


async def test_a_beginning_that_the_engine_dropped_is_a_gap(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment("flood"), assignment("calm"))))
        for task_id in ("flood", "calm"):
            await master.running(task_id)
            runtime.write(f"podling-cluster-1-{task_id}-1", "at first\n")
        await master.until("both were looked at", lambda: len({tail["taskId"] for tail in master.tails}) == 2)
        runtime.output["podling-cluster-1-flood-1"].clear()
        for task_id in ("flood", "calm"):
            runtime.write(f"podling-cluster-1-{task_id}-1", "at last\n")
            runtime.end(f"podling-cluster-1-{task_id}-1", 0)
        await master.until("the ends are there", lambda: sum(tail["final"] for tail in master.tails) == 2)
    assert master.tail_text("flood") == b"[podling: a part of the log is missing here]\nat last\n"
    assert master.tail_text("calm") == b"at first\nat last\n"
