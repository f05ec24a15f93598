"""What an image's own health check says is reported, and forgotten at the container's end."""

from pathlib import Path

from podling.core.protocol import Report, ReportKind
from podling.core.spec import RestartPolicy
from podling.core.task import ContainerStatus, HealthStatus
from podling.wire.session import Assign
from tests.worker.conftest import assignment, running_worker
from tests.worker.memory_runtime import MemoryRuntime
from tests.worker.small_master import SmallMaster


async def health_told(master: SmallMaster, expected: list[HealthStatus]) -> None:
    await master.until(f"the health was {expected}", lambda: _told(master.reports) == expected)


def _runs_again(report: Report) -> bool:
    (one,) = report.containers
    return one.status is ContainerStatus.RUNNING and one.restart_count == 1


def _told(reports: list[Report]) -> list[HealthStatus]:
    return [one.health_status for one in reports if one.kind in (ReportKind.RUNNING, ReportKind.UPDATE)]


async def test_a_change_of_health_is_reported_once(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    unknown, healthy, unhealthy = HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.UNHEALTHY
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment(restart_policy=RestartPolicy.ON_FAILURE),)))
        await master.running()
        container = runtime.one()
        runtime.judge(container, healthy)
        runtime.judge(container, healthy)
        await health_told(master, [unknown, healthy])
        runtime.judge(container, unhealthy)
        await health_told(master, [unknown, healthy, unhealthy])
        runtime.end(container, 1)
        await health_told(master, [unknown, healthy, unhealthy, unknown])
        await master.until("it was started again", lambda: _runs_again(master.reports[-1]))
        runtime.end(container, 0)
        end = await master.end_of()
    assert (end.exit_code, end.health_status) == (0, unknown)


async def test_a_worker_started_again_tells_the_health_that_it_finds(
    tmp_path: Path, runtime: MemoryRuntime, master: SmallMaster
) -> None:
    async with running_worker(tmp_path, runtime, master.url, crash=True):
        await master.until("the worker is connected", lambda: master.beats)
        await master.send(Assign(items=(assignment(),)))
        await master.running()
    runtime.judge(runtime.one(), HealthStatus.UNHEALTHY)
    async with running_worker(tmp_path, runtime, master.url):
        await master.until("it was told", lambda: HealthStatus.UNHEALTHY in _told(master.reports))
