"""Who is placed when, and who ends without having been placed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.platforms import platform_labels
from podling.core.protocol import Assignment, ReportKind
from podling.core.task import StopReason
from tests.master.fake_worker import FakeWorker
from tests.master.masters import RunningMaster, eventually, task_body

NOWHERE = {"placement": {"nodeSelector": {"zone": "nowhere"}}}


async def test_tasks_are_claimed_by_priority_then_age(master: RunningMaster) -> None:
    submitted = [await master.api.submit(name=f"{p}-{n}", priority=p) for n in (1, 2) for p in (0, 5, -5)]
    names = {task["taskId"]: task["name"] for task in submitted}
    worker = await master.worker(slots=1)
    order: list[str] = []
    for count in range(1, 7):
        await worker.until(lambda count=count: len(worker.assignments) == count, f"assignment {count}")
        work = worker.assignments[-1]
        order.append(names[work.task_id])
        await worker.end(work)
    assert order == ["5-1", "5-2", "0-1", "0-2", "-5-1", "-5-2"]


async def test_nodes_are_never_given_more_than_they_have(master: RunningMaster) -> None:
    one, two = await master.worker("one", slots=3), await master.worker("two", slots=4)
    tasks = [await master.api.submit() for _ in range(10)]
    await one.until(lambda: len(one.assignments) == 3, "three tasks")
    await two.until(lambda: len(two.assignments) == 4, "four tasks")
    waiting = (await master.api.get("/tasks", status="pending")).json
    assert len(waiting) == 3 and all("slots" in task["schedulingError"] for task in waiting)
    await one.end(one.assignments[0])
    await one.until(lambda: len(one.assignments) == 4, "the room that was freed to be used")
    assert len(tasks) == 10


async def test_labels_and_resources_decide_where(master: RunningMaster) -> None:
    plain = await master.worker("plain")
    special = await master.worker("special", labels={"zone": "a"})
    chosen = await master.api.submit(placement={"nodeSelector": {"zone": "a"}})
    await special.assigned(chosen["taskId"])
    elsewhere = {"constraints": [{"label": "zone", "operator": "doesNotExist"}]}
    big = {"placement": elsewhere, "resources": {"requests": {"cpu": "3"}}}
    await plain.assigned((await master.api.submit(**big))["taskId"])
    assert "cpu" in (await master.api.submit(**big))["schedulingError"]


async def test_a_platform_that_no_node_has_is_waited_for_with_that_reason(master: RunningMaster) -> None:
    await master.worker("intel", labels=platform_labels("Linux", "x86_64"))
    task = await master.api.submit(platform="linux/arm64")
    assert "label kubernetes.io/arch != arm64" in task["schedulingError"]
    arm = await master.worker("arm", labels=platform_labels("Linux", "aarch64"))
    await arm.assigned(task["taskId"])


async def test_what_fits_nowhere_never_holds_up_the_others(master: RunningMaster) -> None:
    worker = await master.worker()
    blocked = {"tasks": [task_body(priority=9, **NOWHERE)] * 600}
    assert (await master.api.post("/tasks:batch", blocked)).status == 200
    plain = await master.api.submit(name="plain")
    await worker.assigned(plain["taskId"])
    later = await master.api.submit(name="later")
    await worker.assigned(later["taskId"])
    assert len(worker.assignments) == 2
    late = await master.worker("late", labels={"zone": "nowhere"}, slots=700)
    await late.until(lambda: len(late.assignments) == 600, "all of them to be placed where they fit")


async def test_many_shapes_that_fit_nowhere_do_not_either(master: RunningMaster) -> None:
    worker = await master.worker()
    shapes = [task_body(priority=9, placement={"nodeSelector": {"zone": f"z{n}"}}) for n in range(600)]
    assert (await master.api.post("/tasks:batch", {"tasks": shapes})).status == 200
    plain = await master.api.submit(name="plain")
    await worker.assigned(plain["taskId"])


async def test_a_start_in_the_future_waits_for_its_time(master: RunningMaster) -> None:
    worker = await master.worker()
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    task = await master.api.submit(runAt=at.isoformat())
    assert task["schedulingError"] is None
    far = await master.api.submit(runAt=(at + timedelta(days=1)).isoformat())
    past = await master.api.submit(runAt="2020-01-01T00:00:00+02:00")
    await worker.assigned(past["taskId"])
    await worker.assigned(task["taskId"])
    assert datetime.now(UTC) >= at
    assert (await master.api.task(far["taskId"]))["status"] == "pending"
    assert [work.task_id for work in worker.assignments] == [past["taskId"], task["taskId"]]


async def test_a_task_may_wait_only_so_long(master: RunningMaster) -> None:
    task = await master.api.submit(queueTimeoutSeconds=0.3, maxAttempts=5)
    failed = await master.until_status(task["taskId"], "failed")
    assert (failed["errorCode"], failed["attempt"]) == ("QUEUE_TIMEOUT", 0)
    assert failed["deadLetterReason"] == "QUEUE_TIMEOUT"
    assert (await master.api.get(f"/tasks/{task['taskId']}/attempts")).json == []


async def test_a_deadline_ends_a_task_that_waits(master: RunningMaster) -> None:
    task = await master.api.submit(deadlineSeconds=0.3)
    failed = await master.until_status(task["taskId"], "failed")
    assert (failed["errorCode"], failed["deadLetterReason"]) == ("DEADLINE", "DEADLINE")


async def test_a_deadline_stops_a_task_that_runs(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(deadlineSeconds=0.5, maxAttempts=5)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    assert (await worker.stopped(task["taskId"])).reason is StopReason.DEADLINE
    assert (await master.api.task(task["taskId"]))["status"] == "running"
    await worker.end(work, 143, stopped_by=StopReason.DEADLINE)
    failed = await master.api.task(task["taskId"])
    assert (failed["status"], failed["errorCode"], failed["attempt"]) == ("failed", "DEADLINE", 1)


async def test_a_task_that_was_placed_in_time_does_not_time_out(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(queueTimeoutSeconds=0.3)
    other = await master.api.submit(queueTimeoutSeconds=0.6, **NOWHERE)
    work = await worker.assigned(task["taskId"])
    await master.until_status(other["taskId"], "failed")  # by then its own time has passed as well
    assert (await master.api.task(task["taskId"]))["status"] == "scheduled"
    await worker.end(work)


async def test_a_storm_of_tasks_ends_completely(master: RunningMaster) -> None:
    """Four workers, 400 tasks in batches, every report in bulk: all complete, none twice."""
    workers = [await master.worker(f"node-{n}", slots=20) for n in range(4)]
    answer = await master.api.post("/tasks:batch", {"tasks": [task_body() for _ in range(400)]})
    ids = {item["taskId"] for item in answer.json}
    working = [asyncio.create_task(_work_off(worker)) for worker in workers]

    async def all_done() -> bool:
        return sum(len(worker.outcomes) for worker in workers) == 800

    await eventually(all_done, "800 reports to be acknowledged", 30)
    for part in working:
        part.cancel()
    done = [work.task_id for worker in workers for work in worker.assignments]
    assert sorted(done) == sorted(ids)
    listed: list[Any] = (await master.api.get("/tasks", status="completed", limit=500)).json
    assert {task["taskId"] for task in listed} == ids


async def _work_off(worker: FakeWorker) -> None:
    """Report start and end of whatever is assigned, in one message each time."""
    seen: set[str] = set()

    def fresh() -> list[Assignment]:
        return [work for work in worker.assignments if work.task_id not in seen]

    while works := await worker.until(fresh, "more work", 30):
        seen |= {work.task_id for work in works}
        kinds = (ReportKind.RUNNING, ReportKind.ENDED)
        reports = [worker.build(work, kind, exit_code=0) for work in works for kind in kinds]
        assert set(await worker.report(*reports)) == {"applied"}
