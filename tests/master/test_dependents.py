"""Tasks that wait for others: let go, ended, and decided again after a master's death. On both stores."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from podling.core.errors import StoreUnavailable
from podling.core.lifecycle import Assign, Cancel
from podling.core.spec import When
from podling.core.task import Task, TaskStatus
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.master.loops import dependents
from podling.master.loops.dependents import LOOK_SECONDS, Dependents
from podling.master.loops.election import Election
from podling.master.operations import tasks as operations
from podling.store.base import Store
from tests.builders import build_dependent, ended
from tests.master.masters import Masters, RunningMaster, task_body
from tests.master.world import LEASE, Faulty, World, away, insert


def after(*parents: dict[str, Any], when: str | None = None) -> dict[str, Any]:
    wish = {} if when is None else {"when": when}
    return {"dependsOn": [{"taskId": parent["taskId"]} | wish for parent in parents]}


# By the API, with a worker


async def test_a_dependent_starts_when_its_parent_has_completed_and_not_before(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    parent = await master.api.submit()
    child = await master.api.submit(**after(parent))
    clause = f"task {parent['taskId']} has to complete first"
    assert (child["status"], child["runAt"], child["schedulingError"]) == ("pending", None, clause)
    assert child["dependsOn"] == [{"taskId": parent["taskId"], "when": "success"}]
    work = await worker.assigned(parent["taskId"])
    explained = (await master.api.get(f"/tasks/{child['taskId']}/explain")).json
    assert [reason["code"] for reason in explained["reasons"]] == ["waits_for_parent"]
    assert [given.task_id for given in worker.assignments] == [parent["taskId"]]
    await worker.end(work)
    await worker.end(await worker.assigned(child["taskId"]))
    assert (await master.until_status(child["taskId"], "completed"))["runAt"] is not None
    lines = (await master.api.get(f"/tasks/{child['taskId']}/timeline")).json
    assert [line["type"] for line in lines][:3] == ["submitted", "parents_met", "scheduled"]


async def test_a_failure_lets_go_who_wanted_it_and_ends_the_rest_of_the_graph_once(
    master: RunningMaster,
) -> None:
    worker = await master.worker(slots=9)
    parent = await master.api.submit()
    child = await master.api.submit(**after(parent))
    grandchild = await master.api.submit(**after(child))
    cleaner = await master.api.submit(**after(parent, when="failure"))
    either = await master.api.submit(**after(parent, grandchild, when="always"))
    await worker.end(await worker.assigned(parent["taskId"]), exit_code=3)
    for lost, why in ((child, "failed"), (grandchild, "was cancelled")):
        found = await master.until_status(lost["taskId"], "cancelled")
        assert (found["errorCode"], found["deadLetterReason"]) == ("DEPENDENCY_UNMET", None)
        assert found["error"].endswith(why if why == "was cancelled" else f"has {why}")
        lines = (await master.api.get(f"/tasks/{lost['taskId']}/timeline")).json
        assert [line["type"] for line in lines].count("parent_unmet") == 1
    given = {(await worker.assigned(task["taskId"])).task_id for task in (cleaner, either)}
    assert given == {cleaner["taskId"], either["taskId"]}
    assert len(worker.assignments) == 3


async def test_a_failed_attempt_with_budget_left_ends_nobody(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    parent = await master.api.submit(maxAttempts=2, retry={"baseSeconds": 0})
    child = await master.api.submit(**after(parent))
    await worker.end(await worker.assigned(parent["taskId"]), exit_code=1)
    again = await worker.until(
        lambda: [work for work in worker.assignments if work.attempt == 2], "a second attempt"
    )
    assert (await master.api.task(child["taskId"]))["status"] == "pending"
    await worker.end(again[0])
    await worker.assigned(child["taskId"])


async def test_a_cancel_spreads_and_a_dependent_can_be_cancelled_alone(master: RunningMaster) -> None:
    parent = await master.api.submit()
    child, other = [await master.api.submit(**after(parent)) for _ in range(2)]
    assert (await master.api.post(f"/tasks/{other['taskId']}/cancel")).status == 200
    assert (await master.api.post(f"/tasks/{child['taskId']}/retry")).status == 409
    assert (await master.api.post(f"/tasks/{parent['taskId']}/cancel")).status == 200
    found = await master.until_status(child["taskId"], "cancelled")
    assert found["error"] == (
        f"it starts only when task {parent['taskId']} has completed, and that was cancelled"
    )
    assert (await master.api.task(other["taskId"]))["errorCode"] == "CANCELLED"


async def test_a_parent_in_history_counts_at_once(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    parent = await master.api.submit()
    await worker.end(await worker.assigned(parent["taskId"]))
    child = await master.api.submit(**after(parent))
    await worker.assigned(child["taskId"])
    unwanted = await master.api.submit(**after(parent, when="failure"))
    found = await master.until_status(unwanted["taskId"], "cancelled")
    assert found["error"].endswith("has failed, and that has completed")


async def test_a_replay_waits_for_nobody_and_nobody_for_it(master: RunningMaster) -> None:
    parent = await master.api.submit()
    child = await master.api.submit(**after(parent))
    await master.api.post(f"/tasks/{parent['taskId']}/cancel")
    await master.until_status(child["taskId"], "cancelled")
    replayed = await master.api.post(f"/tasks/{child['taskId']}/replay")
    assert (replayed.status, replayed.json["dependsOn"]) == (201, [])
    assert replayed.json["runAt"] is not None


BAD = {
    "missing": ([{"taskId": "nobody"}], "missing_parent", "dependsOn: there is no task nobody"),
    "doubled": ([{"taskId": "a"}, {"taskId": "a", "when": "failure"}], "invalid_field", "names a twice"),
    "when": ([{"taskId": "a", "when": "later"}], "invalid_field", "dependsOn.0.when"),
    "no id": ([{"when": "always"}], "invalid_field", "dependsOn.0.taskId: is required"),
    "unknown field": ([{"taskId": "a", "key": "b"}], "unknown_field", "dependsOn.0.key"),
    "no list": ({"taskId": "a"}, "invalid_field", "dependsOn"),
    "a text": (["a"], "invalid_field", "dependsOn.0"),
    "number": ([{"taskId": 7}], "invalid_field", "dependsOn.0.taskId"),
    "long": ([{"taskId": "x" * 10_000}], "invalid_field", "dependsOn.0.taskId"),
    "many": ([{"taskId": f"t{n}"} for n in range(10_000)], "invalid_field", "at most 1000"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", BAD)
async def test_parents_that_cannot_be_are_refused_with_a_sentence(
    shared_master: RunningMaster, name: str
) -> None:
    given, code, words = BAD[name]
    answer = await shared_master.api.post("/tasks", task_body(dependsOn=given))
    assert (answer.status, answer.code) == (400, code), answer.text
    assert words in answer.json["error"]
    batch = await shared_master.api.post("/tasks:batch", {"tasks": [task_body(dependsOn=given), task_body()]})
    assert [item.get("code") for item in batch.json] == [code, None]


async def test_a_schedule_cannot_wait_for_a_task(master: RunningMaster) -> None:
    task = task_body(dependsOn=[{"taskId": "a"}])
    answer = await master.api.post("/schedules", {"name": "nightly", "cron": "0 3 * * *", "task": task})
    assert (answer.status, answer.field) == (400, "task.dependsOn")


async def test_two_masters_let_go_what_either_was_given(masters: Masters) -> None:
    leader = await masters.start("one")
    other = await masters.start("two")
    worker = await leader.worker(slots=9)
    parent = await other.api.submit()
    child = await other.api.submit(**after(parent))
    await worker.end(await worker.assigned(parent["taskId"]))
    await worker.assigned(child["taskId"])


# One pass at a time, over masters that die


async def child_of(context: MasterContext, *parents: Task, when: When = When.SUCCESS) -> Task:
    child = build_dependent(*(parent.task_id for parent in parents), when=when)
    made = await insert(context, task_id=child.task_id, spec=child.spec, run_at=child.run_at)
    assert made.waits_for_parents
    return made


async def end(context: MasterContext, task: Task) -> None:
    """Have the task complete, by whoever leads."""
    (live,) = await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="node-1"))])
    assert isinstance(live, Task)
    await context.committer.apply(task.task_id, ended(live))


async def status_of(world: World, task: Task) -> tuple[TaskStatus, bool]:
    found = (await world.store.load_tasks([task.task_id]))[task.task_id]
    return found.status, found.waits_for_parents


WAITS, LET_GO = (TaskStatus.PENDING, True), (TaskStatus.PENDING, False)


async def test_a_pass_lets_go_whoever_heard_of_it_or_not(world: World) -> None:
    leader = await world.leader()
    loop = Dependents(leader)
    await loop.run_once()
    parent = await insert(leader)
    child = await child_of(leader, parent)
    await loop.run_once()
    assert await status_of(world, child) == WAITS
    await end(leader, parent)
    assert await loop.wakeup.wait(0)
    await loop.run_once()
    assert await status_of(world, child) == LET_GO


async def test_a_leader_that_died_between_the_end_and_the_release_is_followed_by_one_that_decides(
    world: World,
) -> None:
    first = await world.leader("one")
    parent = await insert(first)
    child, unwanted = await child_of(first, parent), await child_of(first, parent, when=When.FAILURE)
    await end(first, parent)  # and no pass of its own follows
    world.clock.passed += LEASE
    second = world.context("two")
    await take_over(second, world)
    await Dependents(second).run_once()
    assert await status_of(world, child) == LET_GO
    assert (await status_of(world, unwanted))[0] is TaskStatus.CANCELLED


async def take_over(context: MasterContext, world: World) -> None:
    election = Election(context)
    while not context.leads:
        await election.run_once()
        world.clock.passed += LEASE / 2


async def test_a_leader_that_died_after_it_noted_the_end_is_followed_by_one_that_decides(
    world: World,
) -> None:
    store = Faulty(world.store)
    first = await world.leader("one", store)
    loop = Dependents(first)
    await loop.run_once()
    parent = await insert(first)
    child = await child_of(first, parent)
    await end(first, parent)
    store.before["commit"] = away
    with pytest.raises(StoreUnavailable):
        await loop.run_once()
    links = (await world.store.dependencies.links([child.task_id]))[child.task_id]
    assert [link.end for link in links] == ["completed"]
    assert await status_of(world, child) == WAITS
    second = world.context("two")
    await take_over(second, world)
    await Dependents(second).run_once()
    assert await status_of(world, child) == LET_GO


async def test_a_pass_that_failed_is_made_up_for_by_the_next(world: World) -> None:
    store = Faulty(world.store)
    leader = await world.leader("one", store)
    loop = Dependents(leader)
    parent = await insert(leader)
    child = await child_of(leader, parent)
    await loop.run_once()
    await end(leader, parent)
    store.before["commit"] = away
    with pytest.raises(StoreUnavailable):
        await loop.run_once()
    del store.before["commit"]
    loop._heard.clear()  # as if the answer to what was noted had been lost
    await loop.run_once()
    assert await status_of(world, child) == LET_GO


async def test_what_nobody_told_is_found_by_looking(world: World) -> None:
    leader, stranger = await world.leader("one"), world.context("two")
    loop = Dependents(leader)
    await loop.run_once()
    parent = await insert(leader)
    child = await child_of(leader, parent)
    await loop.run_once()
    await loop.wakeup.wait(0)
    await stranger.committer.apply(parent.task_id, Cancel())  # its feed is not this leader's
    assert not await loop.wakeup.wait(0)
    world.clock.passed += LOOK_SECONDS
    await loop.run_once()
    assert (await status_of(world, child))[0] is TaskStatus.CANCELLED


async def test_who_does_not_lead_decides_nothing(world: World) -> None:
    leader, other = await world.leader("one"), world.context("two")
    parent = await insert(leader)
    child = await child_of(leader, parent)
    await end(leader, parent)
    assert await Dependents(other).run_once() is None
    assert await status_of(world, child) == WAITS


async def test_many_dependents_are_decided_page_by_page(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependents, "PAGE", 3)
    monkeypatch.setattr(dependents, "MOST_LINKS", 4)
    leader = await world.leader()
    loop = Dependents(leader)
    await loop.run_once()
    parents = [await insert(leader) for _ in range(5)]
    children = [await child_of(leader, *parents) for _ in range(10)]
    for parent in parents:
        await end(leader, parent)
    passes = 1
    while await loop.run_once() is not None:
        passes += 1
    assert [await status_of(world, child) for child in children] == [LET_GO] * 10
    assert passes > 3


async def test_the_end_of_one_parent_has_nobody_look_at_all_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = await world.leader()
    loop = Dependents(leader)
    parents = [await insert(leader) for _ in range(3)]
    child = await child_of(leader, *parents)
    while await loop.run_once() is not None:
        pass
    monkeypatch.setattr(leader.store.dependencies, "note_ends_for", None)
    for parent in parents:
        assert await status_of(world, child) == WAITS
        await end(leader, parent)
        await loop.run_once()
    assert await status_of(world, child) == LET_GO


async def test_while_nobody_waits_the_store_is_not_asked(world: World) -> None:
    leader = await world.leader()
    loop = Dependents(leader)
    await loop.run_once()
    await end(leader, await insert(leader))
    world.clock.passed += LOOK_SECONDS * 2
    leader.store = cast(Store, SimpleNamespace())
    assert not await loop.wakeup.wait(0)
    assert await loop.run_once() is None


async def test_explain_says_what_a_task_waits_for(world: World) -> None:
    leader = await world.leader()
    parent = await insert(leader)
    child = await child_of(leader, parent)
    said = await operations.explain_task(leader, child.task_id)
    assert said.summary == f"It waits for task {parent.task_id} to complete, which is pending."
