"""One task, from its submission to its end, and what is told about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from podling.core.protocol import ReportKind, ReportOutcome
from podling.core.task import HealthStatus, StopReason
from podling.wire.codec import to_plain
from tests.master.masters import RunningMaster

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


@pytest.mark.parametrize("name", ["attempts", "timeline"])
async def test_what_became_of_a_task_is_read_in_pages(master: RunningMaster, name: str) -> None:
    worker = await master.worker()
    task = await master.api.submit(maxAttempts=3, retry=FAST)
    for number in (1, 2, 3):
        await worker.end(await worker.assigned(task["taskId"], number), 75)
    path = f"/tasks/{task['taskId']}/{name}"
    whole = (await master.api.get(path)).json
    answer = await master.api.get(path, limit=2)
    read = answer.json
    while cursor := answer.headers.get("X-Next-Cursor"):
        assert len(answer.json) == 2 and f"cursor={cursor}" in answer.headers["Link"]
        answer = await master.api.get(path, limit=2, cursor=cursor)
        read += answer.json
    assert read == whole and len(whole) >= 3
    for query in ({"limit": 0}, {"limit": 501}, {"cursor": "x"}, {"page": 2}):
        assert (await master.api.get(path, **query)).status == 400


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
