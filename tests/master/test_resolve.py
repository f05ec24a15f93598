"""Held tasks: why they wait, and what an operator's word makes of them."""

from typing import Any

import pytest

from podling.core.task import StopReason
from tests.master.fake_worker import FakeWorker, held
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    return await masters.start(lease_seconds=SHORT_LEASE_SECONDS)


async def _held(master: RunningMaster, worker: FakeWorker, *names: str, **fields: Any) -> list[Any]:
    """Have a task of each name run and lose its node."""
    works = []
    for name in names:
        task = await master.api.submit(name=name, **({"onLost": "hold"} | fields))
        works.append(await worker.assigned(task["taskId"]))
        await worker.start(works[-1])
    await worker.vanish()
    for work in works:
        await master.until(work.task_id, lambda task: task["held"])
    return works


async def _resolve(master: RunningMaster, task_id: str, outcome: Any) -> Any:
    return await master.api.post(f"/tasks/{task_id}/resolve", {"outcome": outcome})


async def test_a_held_task_says_that_it_is_held_why_and_how_to_go_on(master: RunningMaster) -> None:
    (work,) = await _held(master, await master.worker("one"), "waits")
    explained = (await master.api.get(f"/tasks/{work.task_id}/explain")).json
    assert "is held until the node returns or an operator decides" in explained["summary"]
    assert "did not answer for a whole lease" in explained["summary"]
    assert f"podling resolve {work.task_id} completed|failed|cancelled" in explained["advice"]
    lines = (await master.api.get(f"/tasks/{work.task_id}/timeline")).json
    (told,) = [line for line in lines if line["type"] == "held"]
    assert "did not answer for a whole lease" in told["message"]
    assert "podling resolve" in told["message"]


async def test_an_operators_word_decides(master: RunningMaster) -> None:
    names = ("completed", "failed", "cancelled", "retry")
    worker = await master.worker("one")
    works = await _held(master, worker, *names, delivery="at_most_once")
    other = await master.worker("two")
    for name, work in zip(names, works, strict=True):
        assert (await _resolve(master, work.task_id, name)).status == 200
    for name, work in zip(names[:3], works, strict=False):
        task = await master.api.task(work.task_id)
        assert (task["status"], task["held"], task["attempt"]) == (name, None, 1)
        lines = (await master.api.get(f"/tasks/{work.task_id}/timeline")).json
        assert f"an operator resolved it as {name}" in [line["message"] for line in lines]
    again = works[3]
    await other.end(await other.assigned(again.task_id, 2))
    assert (await master.api.task(again.task_id))["status"] == "completed"
    attempts = (await master.api.get(f"/tasks/{again.task_id}/attempts")).json
    assert [(row["status"], row["nodeId"]) for row in attempts] == [("lost", "one"), ("completed", "two")]


async def test_a_word_on_one_attempt_says_nothing_about_the_next(master: RunningMaster) -> None:
    """The reply was lost, the next attempt is held too, and the command is repeated."""
    worker = await master.worker("one")
    (work,) = await _held(master, worker, "twice", delivery="at_most_once")
    path, word = f"/tasks/{work.task_id}/resolve", {"outcome": "retry", "attempt": 1}
    assert (await master.api.post(path, word)).status == 200
    other = await master.worker("two")
    await other.start(await other.assigned(work.task_id, 2))
    await other.vanish()
    await master.until(work.task_id, lambda task: task["held"])
    repeated = await master.api.post(path, word)
    assert (repeated.status, repeated.code) == (409, "stale_attempt")
    task = await master.api.task(work.task_id)
    assert (task["attempt"], task["status"], bool(task["held"])) == (2, "running", True)
    for wrong in (0, "2", True, 1.5):
        answer = await master.api.post(path, {"outcome": "retry", "attempt": wrong})
        assert (answer.status, answer.field) == (400, "attempt"), wrong
    assert (await master.api.post(path, word | {"attempt": 2})).json["status"] == "pending"


async def test_what_was_resolved_is_stopped_when_its_node_returns(master: RunningMaster) -> None:
    worker = await master.worker("one")
    (work,) = await _held(master, worker, "resolved")
    assert (await _resolve(master, work.task_id, "failed")).json["errorCode"] == "NODE_LOST"
    desired = (await worker.connect([held(work)])).desired
    assert [(order.task_id, order.reason) for order in desired.stop] == [(work.task_id, StopReason.STALE)]
    assert await worker.end(work) == "stale"
    assert (await master.api.task(work.task_id))["status"] == "failed"


async def test_only_a_held_task_can_be_resolved(master: RunningMaster) -> None:
    worker = await master.worker("one")
    task = await master.api.submit()
    await worker.start(await worker.assigned(task["taskId"]))
    refused = await _resolve(master, task["taskId"], "failed")
    assert (refused.status, refused.code) == (409, "illegal_transition")
    assert "not held" in refused.json["error"]
    waiting = await master.api.submit(runAt="2100-01-01T00:00:00Z")
    assert (await _resolve(master, waiting["taskId"], "failed")).status == 409
    assert (await _resolve(master, "nobody", "failed")).status == 404
    for outcome in ("lost", "", None, 1, ["retry"]):
        answer = await _resolve(master, task["taskId"], outcome)
        assert (answer.status, answer.field) == (400, "outcome"), outcome
    assert (await master.api.task(task["taskId"]))["status"] == "running"
