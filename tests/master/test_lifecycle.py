"""One task, from its submission to its end, and what is told about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from podling.core.protocol import ReportKind, ReportOutcome
from podling.core.task import HealthStatus, StopReason
from podling.wire.codec import to_plain
from tests.master.masters import LEASE_SECONDS, RunningMaster, eventually

FAST = {"baseSeconds": 0.05, "jitter": 0}


async def test_a_task_runs_and_completes(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(env={"A": "1"}, command=["sh"])
    work = await worker.assigned(task["taskId"])
    assert (work.spec.main.image, dict(work.spec.main.env)) == ("busybox:local", {"A": "1"})
    assert work.environment == {
        "PODLING_TASK_ID": task["taskId"],
        "PODLING_ATTEMPT": "1",
        "PODLING_NODE_ID": "node-1",
    }
    scheduled = await master.api.task(task["taskId"])
    assert (scheduled["status"], scheduled["nodeId"], scheduled["attempt"]) == ("scheduled", "node-1", 1)
    assert await worker.start(work) is ReportOutcome.APPLIED
    running = await master.api.task(task["taskId"])
    assert (running["status"], running["containerId"]) == ("running", "container-1")
    assert running["startedAt"] is not None and running["finishedAt"] is None
    assert await worker.end(work) is ReportOutcome.APPLIED
    completed = await master.api.task(task["taskId"])
    assert (completed["status"], completed["exitCode"], completed["error"]) == ("completed", 0, None)
    assert completed["containerId"] == "container-1"
    assert completed["finishedAt"] >= completed["startedAt"]


async def test_start_and_end_in_one_message_are_both_kept(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    started = datetime.now(UTC)
    running = worker.build(work, ReportKind.RUNNING, started_at=started)
    ended = worker.build(work, ReportKind.ENDED, exit_code=0, finished_at=started + timedelta(seconds=2))
    assert await worker.report(running, ended) == ["applied", "applied"]
    done = await master.api.task(task["taskId"])
    assert done["status"] == "completed"
    took = datetime.fromisoformat(done["finishedAt"]) - datetime.fromisoformat(done["startedAt"])
    assert took == timedelta(seconds=2)


async def test_every_report_gets_its_outcome(master: RunningMaster) -> None:
    worker = await master.worker()
    other = await master.worker("node-2", slots=1)
    await master.api.post("/nodes/node-2/cordon")
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    foreign = other.build(work, ReportKind.RUNNING)
    assert await other.report(foreign) == ["stale"]
    assert await worker.tell_health(work, HealthStatus.HEALTHY) == "invalid"  # it does not run yet
    outcomes = await worker.report(
        worker.build(work, ReportKind.RUNNING, task_id="nobody-knows"),
        worker.build(work, ReportKind.RUNNING, attempt=2),
        worker.build(work, ReportKind.RUNNING),
        worker.build(work, ReportKind.RUNNING),
        worker.build(work, ReportKind.ENDED, exit_code=0),
        worker.build(work, ReportKind.RUNNING),
        worker.build(work, ReportKind.ENDED, exit_code=0),
    )
    assert outcomes == ["unknown", "stale", "applied", "applied", "applied", "stale", "stale"]
    assert (await master.api.task(task["taskId"]))["status"] == "completed"


BAD_REPORTS: list[dict[str, Any]] = [
    {"exitCode": 256},
    {"exitCode": -1},
    {"exitCode": "0"},
    {"exitCode": True},
    {"attempt": -1},
    {"attempt": 2**63},
    {"at": "2026-01-01T00:00:00"},
    {"at": "0001-01-01T00:00:00Z"},
    {"kind": "exploded"},
    {"taskId": None},
    {"healthStatus": "fine"},
    {"containers": [{"name": "main", "exitCode": 300}]},
    {"surprise": 1},
]


async def test_one_bad_report_harms_no_other(master: RunningMaster) -> None:
    worker = await master.worker(slots=len(BAD_REPORTS))
    for bad in BAD_REPORTS:
        task = await master.api.submit()
        work = await worker.assigned(task["taskId"])
        good = worker.build(work, ReportKind.RUNNING)
        item = to_plain(worker.build(work, ReportKind.ENDED, exit_code=1)) | bad
        worker.outcomes.clear()
        await worker.send_text("reports\n" + orjson.dumps({"items": [item, to_plain(good)]}).decode())
        await worker.until(lambda: len(worker.outcomes) == 2, "both outcomes")
        assert worker.outcomes == {item["sequence"]: "invalid", good.sequence: "applied"}, bad
        assert (await master.api.task(task["taskId"]))["status"] == "running", bad


async def test_what_a_worker_tells_may_be_ugly(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    ugly = "\0 \x1b[31m <script> ' \\u0000 " + "x" * 10_000_000
    assert await worker.end(work, 1, error=ugly) == "applied"
    failed = await master.api.task(task["taskId"])
    assert failed["status"] == "failed"
    assert failed["error"].startswith("� \x1b[31m <script> ' \\u0000 x")
    assert len(failed["error"]) == 4096


async def test_a_clock_that_is_years_off_is_believed_but_harmless(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    past = datetime(1971, 1, 1, tzinfo=UTC)
    assert await worker.start(work, at=past, started_at=past) == "applied"
    assert await worker.end(work, finished_at=datetime(2090, 1, 1, tzinfo=UTC)) == "applied"
    done = await master.api.task(task["taskId"])
    assert (done["status"], done["startedAt"]) == ("completed", "1971-01-01T00:00:00.000000Z")


async def test_health_and_restarts_are_kept(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    assert await worker.tell_health(work, HealthStatus.UNHEALTHY) == "applied"
    assert (await master.api.task(task["taskId"]))["healthStatus"] == "unhealthy"


# Cancel


async def test_a_pending_task_is_cancelled_at_once(master: RunningMaster) -> None:
    task = await master.api.submit()
    answer = await master.api.post(f"/tasks/{task['taskId']}/cancel")
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    again = await master.api.post(f"/tasks/{task['taskId']}/cancel")
    assert (again.status, again.json["status"]) == (200, "cancelled")
    worker = await master.worker()
    other = await master.api.submit()
    await worker.assigned(other["taskId"])
    assert [work.task_id for work in worker.assignments] == [other["taskId"]]


async def test_a_task_is_cancelled_before_it_started(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    answer = await master.api.post(f"/tasks/{task['taskId']}/cancel")
    assert (answer.status, answer.json["status"]) == (202, "scheduled")
    assert (await worker.stopped(task["taskId"])).reason is StopReason.CANCEL
    await worker.end(work, None, stopped_by=StopReason.CANCEL, never_started=True)
    done = await master.api.task(task["taskId"])
    assert (done["status"], done["exitCode"], done["startedAt"]) == ("cancelled", None, None)


async def test_a_running_task_is_cancelled_by_its_worker(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=5)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    for _ in range(2):  # asking twice changes nothing
        answer = await master.api.post(f"/tasks/{task['taskId']}/cancel")
        assert (answer.status, answer.json["status"]) == (202, "running")
    await worker.stopped(task["taskId"])
    await worker.end(work, 143, stopped_by=StopReason.CANCEL)
    done = await master.api.task(task["taskId"])
    assert (done["status"], done["exitCode"], done["attempt"]) == ("cancelled", 143, 1)
    assert len(worker.stops) == 1


async def test_a_failure_after_a_cancel_is_not_tried_again(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=5)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    await worker.end(work, 1)
    assert (await master.api.task(task["taskId"]))["status"] == "cancelled"


async def test_an_ended_task_cannot_be_cancelled(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    await worker.end(await worker.assigned(task["taskId"]))
    answer = await master.api.post(f"/tasks/{task['taskId']}/cancel")
    assert (answer.status, answer.code) == (409, "illegal_transition")
    assert answer.json["details"]["status"] == "completed"


# Failure, retry, replay


async def test_a_failed_attempt_is_tried_again_until_the_budget_is_spent(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=2, retry=FAST)
    await worker.end(await worker.assigned(task["taskId"], 1), 75, error="first")
    second = await worker.assigned(task["taskId"], 2)
    await worker.end(second, 76, error="second")
    failed = await master.api.task(task["taskId"])
    assert (failed["status"], failed["attempt"], failed["exitCode"]) == ("failed", 2, 76)
    assert (failed["errorCode"], failed["deadLetterReason"]) == ("EXIT_CODE", "MAX_ATTEMPTS_EXCEEDED")
    attempts = (await master.api.get(f"/tasks/{task['taskId']}/attempts")).json
    assert [(row["attempt"], row["status"], row["exitCode"], row["error"]) for row in attempts] == [
        (1, "failed", 75, "first"),
        (2, "failed", 76, "second"),
    ]
    assert attempts[0]["retryAt"] is not None and attempts[1]["retryAt"] is None
    assert set(attempts[0]) >= {
        *("attempt", "nodeId", "containerId", "status", "startedAt", "finishedAt"),
        *("exitCode", "errorCode", "error", "imageDigest"),
    }


async def test_a_retry_waits_for_its_time_and_no_longer(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=2, retry={"baseSeconds": 0.4, "jitter": 0})
    await worker.end(await worker.assigned(task["taskId"]), 1)
    waiting = await master.api.task(task["taskId"])
    assert waiting["status"] == "pending" and waiting["schedulingError"] is None
    due = datetime.fromisoformat(waiting["runAt"])
    await worker.assigned(task["taskId"], 2)
    late = (datetime.now(UTC) - due).total_seconds()
    assert 0 <= late < 2


async def test_a_waiting_retry_can_be_started_now(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=2, retry={"baseSeconds": 600, "jitter": 0})
    await worker.end(await worker.assigned(task["taskId"]), 1)
    answer = await master.api.post(f"/tasks/{task['taskId']}/retry")
    assert answer.status == 200
    await worker.assigned(task["taskId"], 2)


async def test_only_a_waiting_task_can_be_retried(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    live = await master.api.post(f"/tasks/{task['taskId']}/retry")
    await worker.end(work)
    ended = await master.api.post(f"/tasks/{task['taskId']}/retry")
    assert [live.status, ended.status] == [409, 409]
    assert live.code == ended.code == "illegal_transition"
    assert "replay" in ended.json["error"]


async def test_an_error_that_is_not_to_be_retried_ends_the_task(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=5, retry={"notOn": ["exit:2"]})
    await worker.end(await worker.assigned(task["taskId"]), 2)
    failed = await master.api.task(task["taskId"])
    assert (failed["status"], failed["deadLetterReason"]) == ("failed", "NON_RETRYABLE")


async def test_a_refused_attempt_costs_no_budget(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=1, retry=FAST)
    assert await worker.refuse(await worker.assigned(task["taskId"], 1), "busy") == "applied"
    await worker.end(await worker.assigned(task["taskId"], 2))
    done = await master.api.task(task["taskId"])
    assert (done["status"], done["attempt"]) == ("completed", 2)
    attempts = (await master.api.get(f"/tasks/{task['taskId']}/attempts")).json
    assert [row["status"] for row in attempts] == ["refused", "completed"]


async def test_a_node_that_failed_a_task_gets_the_next_try_last(master: RunningMaster) -> None:
    bad, good = await master.worker("bad"), await master.worker("good")
    await master.api.post("/nodes/good/cordon")
    task = await master.api.submit(maxAttempts=3, retry=FAST)
    work = await bad.assigned(task["taskId"])
    await master.api.post("/nodes/good/uncordon")
    await bad.end(work, None, error_code="IMAGE_PULL", error="no such image")
    await good.assigned(task["taskId"], 2)


async def test_a_replay_is_a_new_task(master: RunningMaster) -> None:
    task = await master.api.submit(name="again", idempotencyKey="once", env={"A": "1"}, queue="first")
    early = await master.api.post(f"/tasks/{task['taskId']}/replay")
    assert (early.status, early.code) == (409, "illegal_transition")
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    plain = await master.api.post(f"/tasks/{task['taskId']}/replay")
    assert plain.status == 201
    new = plain.json
    assert new["taskId"] != task["taskId"]
    assert (new["replayOf"], new["name"], new["env"], new["queue"]) == (
        task["taskId"],
        "again",
        {"A": "1"},
        "first",
    )
    assert (new["status"], new["attempt"], new["idempotencyKey"]) == ("pending", 0, None)
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = await master.api.post(f"/tasks/{task['taskId']}/replay", {"queue": "second", "runAt": at})
    assert (later.status, later.json["queue"]) == (201, "second")
    assert datetime.fromisoformat(later.json["runAt"]) == datetime.fromisoformat(at)
    assert (await master.api.task(task["taskId"]))["status"] == "cancelled"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body, field",
    [
        ({"queue": "no queue"}, "queue"),
        ({"queue": 5}, "queue"),
        ({"runAt": "tomorrow"}, "runAt"),
        ({"runAt": "2026-01-01T00:00:00"}, "runAt"),
        ({"priority": 1}, "priority"),
    ],
)
async def test_a_replay_checks_what_it_is_given(
    shared_master: RunningMaster, body: dict[str, Any], field: str
) -> None:
    task = await shared_master.api.submit()
    await shared_master.api.post(f"/tasks/{task['taskId']}/cancel")
    answer = await shared_master.api.post(f"/tasks/{task['taskId']}/replay", body)
    assert (answer.status, answer.field) == (400, field)


# Status by REST


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


# What is told


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
