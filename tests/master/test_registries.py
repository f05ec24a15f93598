"""A registry that keeps failing trips a breaker: who needs it waits, one tries, and explain names it."""

from typing import Any

import pytest

from podling.coordination.breakers import MOST_LISTED
from podling.core.access import Role
from podling.core.retry import ErrorCode
from podling.core.spec import ContainerSpec
from podling.master.loops import lines, scheduler
from podling.master.operations.registries import breakers_of, seen_for
from tests.builders import build_task
from tests.master.fake_worker import FakeWorker
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.tokens import add_token, showing
from tests.master.world import World

IMAGE = "r.test:5000/shop:1"
BREAKER = "/breakers/registry%2Fr.test:5000"
DOWN = f"The image {IMAGE} could not be pulled: dial tcp: connect: connection refused"


async def submit(master: RunningMaster, image: str = IMAGE, **fields: Any) -> str:
    return str((await master.api.submit(image=image, **fields))["taskId"])


async def fail_pulls(master: RunningMaster, worker: FakeWorker, count: int = 5) -> None:
    for _ in range(count):
        work = await worker.assigned(await submit(master))
        await worker.end(work, None, error_code=ErrorCode.IMAGE_PULL, error=DOWN, never_started=True)


async def until_state(master: RunningMaster, state: str) -> None:
    async def is_so() -> bool:
        return bool((await master.api.get(BREAKER)).json["state"] == state)

    await eventually(is_so, f"the breaker to be {state}")


async def reason_of(master: RunningMaster, task_id: str) -> dict[str, Any]:
    """Wait until the task is held back, and return why."""

    async def is_held() -> Any:
        explained = (await master.api.get(f"/tasks/{task_id}/explain")).json
        found = [reason for reason in explained["reasons"] if reason["code"] == "REGISTRY_FAILING"]
        return (
            (found[0] | {"summary": explained["summary"], "advice": explained["advice"]}) if found else None
        )

    return dict(await eventually(is_held, f"{task_id} to wait for its registry"))


def begun(worker: FakeWorker, task_ids: list[str]) -> list[str]:
    return [work.task_id for work in worker.assignments if work.task_id in task_ids]


async def test_it_opens_at_the_fifth_pull_that_failed_and_explain_names_it(masters: Masters) -> None:
    leader = await masters.start()
    other = await masters.start("machine-2")
    worker = await leader.worker(slots=100)
    await fail_pulls(leader, worker)
    await until_state(leader, "open")
    held = await submit(leader)
    for master in (leader, other):
        reason = await reason_of(master, held)
        assert reason["summary"] == (
            "It waits because the registry r.test:5000 keeps failing: its breaker registry/r.test:5000 is"
            " open after 5 pulls that failed."
        )
        assert reason["details"]["breaker"] == "registry/r.test:5000"
        assert "podling breaker set registry/r.test:5000 closed" in reason["advice"]

    async def decided() -> Any:
        return (await leader.api.get("/decisions", taskId=held, code="REGISTRY_FAILING")).json

    assert (await eventually(decided, "the decision"))[0]["details"]["registry"] == "r.test:5000"
    timeline = (await leader.api.get(f"/tasks/{held}/timeline")).json
    assert any("keeps failing" in line["message"] for line in timeline)
    listed = (await other.api.get("/breakers")).json
    assert [(one["key"], one["failureCount"]) for one in listed] == [("registry/r.test:5000", 5)]
    for image in ("elsewhere.test/shop:1", "r.test:5000/not-tried:1"):
        await worker.assigned(await submit(leader, image))
    assert begun(worker, [held]) == []


async def test_one_tries_when_it_is_half_open_and_its_start_closes_it(master: RunningMaster) -> None:
    worker = await master.worker(slots=100)
    await fail_pulls(master, worker)
    held = [await submit(master) for _ in range(4)]
    for task_id in held:
        await reason_of(master, task_id)
    assert (await master.api.put(BREAKER, {"state": "half_open"})).status == 200
    work = await worker.until(lambda: begun(worker, held), "one that tries")
    (trying,) = (one for one in worker.assignments if one.task_id == work[0])
    for task_id in held:
        if task_id != trying.task_id:
            assert "half open, and task" in (await reason_of(master, task_id))["message"]
    assert begun(worker, held) == [trying.task_id]
    await worker.start(trying)
    await until_state(master, "closed")
    for task_id in held:
        await worker.assigned(task_id)


async def test_a_try_that_fails_opens_it_again(master: RunningMaster) -> None:
    worker = await master.worker(slots=100)
    await fail_pulls(master, worker)
    held = await submit(master)
    await reason_of(master, held)
    await master.api.put(BREAKER, {"state": "half_open"})
    work = await worker.assigned(held)
    await worker.end(work, None, error_code=ErrorCode.IMAGE_PULL, error=DOWN, never_started=True)
    await until_state(master, "open")
    assert (await reason_of(master, await submit(master)))["details"]["failureCount"] == 6


async def test_an_answer_begins_the_count_anew(master: RunningMaster) -> None:
    worker = await master.worker(slots=100)
    await fail_pulls(master, worker, 4)
    work = await worker.assigned(await submit(master))
    missing = f"The image {IMAGE} could not be pulled: manifest unknown"
    await worker.end(work, None, error_code=ErrorCode.IMAGE_PULL, error=missing, never_started=True)
    await fail_pulls(master, worker, 4)

    async def counted() -> bool:
        return bool((await master.api.get(BREAKER)).json["failureCount"] == 4)

    await eventually(counted, "four failures to be counted")
    assert (await master.api.get(BREAKER)).json["state"] == "closed"


async def test_many_that_wait_are_in_nobodys_way_and_all_start_in_the_end(
    master: RunningMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lines, scheduler):
        monkeypatch.setattr(module, "PAGE", 3)
    worker = await master.worker(slots=100)
    await fail_pulls(master, worker)
    await until_state(master, "open")
    held = [await submit(master, priority=9) for _ in range(10)]
    await worker.assigned(await submit(master, "elsewhere.test/shop:1"))
    assert begun(worker, held) == []
    await master.api.put(BREAKER, {"state": "closed"})
    for task_id in held:
        await worker.assigned(task_id)


async def test_its_breaker_is_an_operators_to_set(master: RunningMaster) -> None:
    _, submitter = await add_token(master, Role.SUBMITTER)
    _, operator = await add_token(master, Role.OPERATOR)
    async with showing(master, submitter) as api:
        for verb in ("failure", "success", "allow"):
            assert (await api.post(f"{BREAKER}/{verb}")).code == "role_needed"
        assert (await api.put(BREAKER, {"state": "open"})).status == 403
        assert (await api.put("/breakers/registry", {"state": "open"})).status == 200
        assert (await api.get(BREAKER)).json["state"] == "closed"
    async with showing(master, operator) as api:
        assert (await api.put(BREAKER, {"state": "open"})).status == 200


async def test_the_last_of_very_many_is_known_too(world: World) -> None:
    context = world.context()
    for number in range(MOST_LISTED):
        await breakers_of(context).record_failure(f"{number:03}.test")
    await breakers_of(context).record_failure("z.test", 1)
    seen = await seen_for(context, build_task(containers=(ContainerSpec(image="z.test/shop:1"),)))
    assert seen.hold and seen.room("000.test", 1) == 1 and seen.room("z.test", 1) == 0
