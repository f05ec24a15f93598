"""Nodes that fall silent, and what becomes of their tasks."""

from typing import Any

import pytest

from podling.core.protocol import HeldState
from podling.core.task import StopReason
from tests.master.fake_worker import FakeWorker, held
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    return await masters.start(lease_seconds=SHORT_LEASE_SECONDS)


async def _started(master: RunningMaster, worker: FakeWorker, **fields: Any) -> Any:
    task = await master.api.submit(**fields)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    return work


async def test_tasks_of_a_lost_node_go_where_their_policy_says(master: RunningMaster) -> None:
    worker = await master.worker("one")
    again = await _started(master, worker, name="again")
    fails = await _started(master, worker, name="fails", onLost="fail")
    holds = await _started(master, worker, name="holds", onLost="hold")
    spent = await _started(master, worker, name="spent", maxLosses=0)
    once = await _started(master, worker, name="once", delivery="at_most_once")
    other = await master.worker("two")
    await worker.vanish()

    second = await other.assigned(again.task_id, 2)
    task = await master.api.task(again.task_id)
    assert (task["nodeId"], task["attempt"]) == ("two", 2)
    await other.end(second)
    assert (await master.api.task(again.task_id))["status"] == "completed"

    failed = await master.until_status(fails.task_id, "failed")
    assert (failed["errorCode"], failed["deadLetterReason"]) == ("NODE_LOST", "NODE_LOST")
    dead = await master.until_status(spent.task_id, "failed")
    assert (dead["errorCode"], dead["deadLetterReason"]) == ("NODE_LOST", "MAX_LOSSES_EXCEEDED")
    for work in (holds, once):
        waiting = await master.until(work.task_id, lambda task: task["held"])
        assert (waiting["status"], waiting["nodeId"], waiting["attempt"]) == ("running", "one", 1)
        explained = (await master.api.get(f"/tasks/{work.task_id}/explain")).json
        assert explained["reasons"][0]["code"] == "held"

    node = await master.api.node("one")
    assert node["status"] == "offline" and "lease" in node["lostReason"]
    attempts = (await master.api.get(f"/tasks/{again.task_id}/attempts")).json
    assert [(row["status"], row["errorCode"]) for row in attempts] == [
        ("lost", "NODE_LOST"),
        ("completed", None),
    ]
    assert {work.task_id for work in other.assignments} == {again.task_id}

    await _comes_back(master, worker, again, holds, once)


async def _comes_back(master: RunningMaster, worker: FakeWorker, again: Any, holds: Any, once: Any) -> None:
    """The node returns with everything it had: what was given away stops, what was held goes on."""
    desired = (await worker.connect([held(again), held(holds), held(once)])).desired
    assert [(order.task_id, order.reason) for order in desired.stop] == [(again.task_id, StopReason.STALE)]
    assert desired.assign == ()
    assert (await master.api.node("one"))["status"] == "online"
    assert await worker.end(again, 137) == "stale"
    assert (await master.api.task(again.task_id))["status"] == "completed"
    for work in (holds, once):
        assert (await master.api.task(work.task_id))["held"] is None
        assert await worker.end(work) == "applied"
        assert (await master.api.task(work.task_id))["status"] == "completed"


async def test_a_node_that_is_back_within_its_lease_goes_on(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _started(master, worker)
    await worker.vanish()
    desired = (await worker.connect([held(work)])).desired
    assert (desired.assign, desired.stop, desired.forget) == ((), (), ())
    counter = await worker.beat_once()
    await worker.acknowledged(counter)
    assert await worker.end(work) == "applied"
    task = await master.api.task(work.task_id)
    assert (task["status"], task["attempt"]) == ("completed", 1)


async def test_beats_of_a_lost_node_are_not_acknowledged(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _started(master, worker, onLost="hold")
    worker.fall_silent()
    await master.until(work.task_id, lambda task: task["held"])
    counter = await worker.beat_once()
    goodbye = await worker.ended()
    assert goodbye is not None and goodbye.reconnect and "lost" in goodbye.reason
    assert counter not in worker.beats_acknowledged
    worker.beating = True
    await worker.connect([held(work, HeldState.RUNNING)])
    assert (await master.api.task(work.task_id))["held"] is None


async def test_losses_have_a_budget_of_their_own(master: RunningMaster) -> None:
    task = await master.api.submit(maxAttempts=1, maxLosses=1)
    for attempt in (1, 2):
        worker = await master.worker(f"node-{attempt}")
        await worker.start(await worker.assigned(task["taskId"], attempt))
        await worker.vanish()
    failed = await master.until_status(task["taskId"], "failed")
    assert failed["deadLetterReason"] == "MAX_LOSSES_EXCEEDED"
    attempts = (await master.api.get(f"/tasks/{task['taskId']}/attempts")).json
    assert [row["status"] for row in attempts] == ["lost", "lost"]


async def test_a_cancelled_task_of_a_lost_node_is_cancelled(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    held_back = await _started(master, worker, onLost="hold")
    await worker.vanish()
    assert (await master.api.post(f"/tasks/{work.task_id}/cancel")).status == 202
    done = await master.until_status(work.task_id, "cancelled")
    assert done["attempt"] == 1
    await master.until(held_back.task_id, lambda task: task["held"])
    answer = await master.api.post(f"/tasks/{held_back.task_id}/cancel")
    assert (answer.status, answer.json["status"]) == (200, "cancelled")


async def test_an_assignment_that_nobody_took_is_lost_with_its_node(master: RunningMaster) -> None:
    worker = await master.worker("one")
    await worker.vanish()
    task = await master.api.submit()
    await master.until_status(task["taskId"], "scheduled")
    other = await master.worker("two")
    await other.assigned(task["taskId"], 2)


async def test_a_status_is_taken_for_a_node_that_is_away(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await _started(master, worker, onLost="hold")
    await worker.vanish()
    await master.until(work.task_id, lambda task: task["held"])
    body = {"status": "completed", "exitCode": 0}
    answer = await master.api.put(f"/tasks/{work.task_id}/status", body)
    assert (answer.status, answer.json["status"]) == (200, "completed")
    assert (await worker.connect([held(work, HeldState.ENDED)])).desired.forget == (work.key,)
    assert await worker.end(work, 1) == "stale"
