"""A task's status as simple clients put it, without a session."""

from typing import Any

import pytest

from tests.master.masters import RunningMaster


async def test_a_status_without_an_attempt_needs_a_node_that_is_away(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    path = f"/tasks/{task['taskId']}/status"
    await worker.assigned(task["taskId"])
    refused = await master.api.put(path, {"status": "running"})
    assert (refused.status, refused.code) == (409, "illegal_transition")
    assert refused.json["details"] == {"taskId": task["taskId"], "nodeId": "node-1", "attempt": 1}


async def test_a_status_with_the_attempt_is_taken(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    path = f"/tasks/{task['taskId']}/status"
    await worker.assigned(task["taskId"])
    stale = await master.api.put(path, {"status": "running", "attempt": 2})
    assert (stale.status, stale.code) == (409, "stale_attempt")
    running = await master.api.put(path, {"status": "running", "attempt": 1, "containerId": "c1"})
    assert (running.status, running.json["status"], running.json["containerId"]) == (200, "running", "c1")
    sick = await master.api.put(path, {"status": "running", "attempt": 1, "healthStatus": "unhealthy"})
    assert (sick.json["healthStatus"], sick.json["containerId"]) == ("unhealthy", "c1")
    done = await master.api.put(path, {"status": "completed", "attempt": 1, "exitCode": 0})
    assert (done.json["status"], done.json["containerId"]) == ("completed", "c1")
    again = await master.api.put(path, {"status": "failed", "attempt": 1, "error": "no"})
    assert (again.status, again.code) == (409, "stale_attempt")
    assert (await master.api.task(task["taskId"]))["status"] == "completed"


@pytest.mark.parametrize("status, code", [("failed", "UNKNOWN"), ("cancelled", "CANCELLED")])
async def test_other_ends_by_status(master: RunningMaster, status: str, code: str) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    await worker.assigned(task["taskId"])
    body = {"status": status, "attempt": 1, "error": "by hand"}
    done = await master.api.put(f"/tasks/{task['taskId']}/status", body)
    assert (done.status, done.json["status"], done.json["errorCode"]) == (200, status, code)
    assert done.json["finishedAt"] is not None


async def test_a_status_for_a_task_without_an_attempt_is_a_conflict(master: RunningMaster) -> None:
    task = await master.api.submit()
    answer = await master.api.put(f"/tasks/{task['taskId']}/status", {"status": "running"})
    assert (answer.status, answer.code) == (409, "illegal_transition")
    assert (await master.api.task(task["taskId"]))["status"] == "pending"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "status"),
        ({"status": "scheduled"}, "status"),
        ({"status": "exploded"}, "status"),
        ({"status": 1}, "status"),
        ({"status": "failed", "exitCode": 256}, "exitCode"),
        ({"status": "failed", "exitCode": -1}, "exitCode"),
        ({"status": "failed", "exitCode": "0"}, "exitCode"),
        ({"status": "failed", "exitCode": True}, "exitCode"),
        ({"status": "running", "attempt": -1}, "attempt"),
        ({"status": "running", "attempt": 2**63}, "attempt"),
        ({"status": "running", "healthStatus": "fine"}, "healthStatus"),
        ({"status": "running", "containerId": 5}, "containerId"),
        ({"status": "failed", "error": "a\0b"}, "error"),
        ({"status": "failed", "reason": "x"}, "reason"),
    ],
)
async def test_a_status_is_checked_by_field(
    shared_master: RunningMaster, body: dict[str, Any], field: str
) -> None:
    task = await shared_master.api.submit()
    answer = await shared_master.api.put(f"/tasks/{task['taskId']}/status", body)
    assert (answer.status, answer.field) == (400, field)
