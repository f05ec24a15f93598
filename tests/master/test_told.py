"""What is told about a task and the cluster."""

from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.task import StopReason
from tests.master.masters import LEASE_SECONDS, RunningMaster, eventually

FAST = {"baseSeconds": 0.05, "jitter": 0}


async def test_the_timeline_tells_everything_in_order(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=2, retry=FAST)
    first = await worker.assigned(task["taskId"], 1)
    await worker.start(first)
    await worker.end(first, 1, error="boom")
    second = await worker.assigned(task["taskId"], 2)
    await worker.start(second)
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    await worker.end(second, 143, stopped_by=StopReason.CANCEL)
    lines = (await master.api.get(f"/tasks/{task['taskId']}/timeline")).json
    assert [(line["type"], line["attempt"]) for line in lines] == [
        ("submitted", None),
        ("scheduled", 1),
        ("started", 1),
        ("attempt_failed", 1),
        ("scheduled", 2),
        ("started", 2),
        ("cancel_requested", 2),
        ("attempt_cancelled", 2),
        ("cancelled", 2),
    ]
    assert all(set(line) == {"at", "type", "attempt", "actor", "message", "details"} for line in lines)
    assert "boom" in lines[3]["message"]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)


async def _explain(master: RunningMaster, task: dict[str, Any]) -> dict[str, Any]:
    answer = await master.api.get(f"/tasks/{task['taskId']}/explain")
    assert answer.status == 200, answer.text
    explanation = answer.json
    assert set(explanation) == {
        *("taskId", "status", "summary", "reasons", "nodes", "queuePosition", "nextEventAt", "advice")
    }
    assert explanation["summary"].endswith(".") and explanation["reasons"]
    return dict(explanation)


async def test_explain_says_where_a_pending_task_is(master: RunningMaster) -> None:
    first = await master.api.submit()
    second = await master.api.submit()
    nowhere = await _explain(master, second)
    assert (nowhere["status"], nowhere["queuePosition"]) == ("pending", 2)
    assert "no node is online" in nowhere["summary"] and nowhere["advice"]
    worker = await master.worker(slots=1)
    await worker.assigned(first["taskId"])
    full = await _explain(master, second)
    assert full["queuePosition"] == 1
    assert [(node["nodeId"], node["fits"]) for node in full["nodes"]] == [("node-1", False)]
    assert "slots" in full["summary"]
    at = datetime.now(UTC) + timedelta(hours=1)
    later = await _explain(master, await master.api.submit(runAt=at.isoformat()))
    assert [reason["code"] for reason in later["reasons"]] == ["not_due"]
    assert datetime.fromisoformat(later["nextEventAt"]) == at
    assert later["queuePosition"] is None


async def test_explain_says_where_a_live_and_an_ended_task_is(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=2, retry={"baseSeconds": 600, "jitter": 0})
    work = await worker.assigned(task["taskId"])
    assert (await _explain(master, task))["reasons"][0]["code"] == "starting"
    await worker.start(work)
    assert "runs on node node-1" in (await _explain(master, task))["summary"]
    await worker.end(work, 1, error="out of luck")
    waiting = await _explain(master, task)
    assert "out of luck" in waiting["summary"] and waiting["nextEventAt"]
    await master.api.post(f"/tasks/{task['taskId']}/retry")
    second = await worker.assigned(task["taskId"], 2)
    await worker.start(second)
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    assert (await _explain(master, task))["reasons"][0]["code"] == "stopping"
    await worker.end(second, 143, stopped_by=StopReason.CANCEL)
    assert "cancelled" in (await _explain(master, task))["summary"]


async def test_the_cluster_at_a_glance(master: RunningMaster) -> None:
    await master.worker(slots=1)
    first = await master.api.submit()
    await master.until_status(first["taskId"], "scheduled")
    await master.api.submit()
    overview = (await master.api.get("/cluster")).json
    assert overview["nodes"] == {"online": 1, "offline": 0, "cordoned": 0}
    assert (overview["tasks"]["scheduled"], overview["tasks"]["pending"]) == (1, 1)
    assert overview["epoch"] == 1 and overview["leaseSeconds"] == LEASE_SECONDS
    assert [known["leader"] for known in overview["masters"]] == [True]
    assert overview["store"] in ("memory", "postgres")


async def test_workers_that_leave_free_nothing_by_themselves(master: RunningMaster) -> None:
    worker = await master.worker(slots=1)
    task = await master.api.submit()
    await worker.assigned(task["taskId"])
    await worker.vanish()

    async def gone() -> bool:
        return master.server.sessions.get("node-1") is None

    await eventually(gone, "the session to end")
    assert (await master.api.node("node-1"))["runningTasks"] == 1
