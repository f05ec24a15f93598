"""Dead letters by REST: listed, replayed and dismissed, one by one and many at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podling.core.permissions import AllowedImages, Limits, Policy
from tests.master.masters import Answer, RunningMaster


async def dead(master: RunningMaster, count: int = 1, **fields: Any) -> list[str]:
    """Have so many tasks fail one after the other; return their ids, the last failed first."""
    worker = await master.worker()
    found = []
    for _ in range(count):
        task = await master.api.submit(**fields)
        await worker.end(await worker.assigned(task["taskId"]), 75, error="no")
        found.append(task["taskId"])
    await worker.close()
    return found[::-1]


async def listed(master: RunningMaster, **query: Any) -> list[str]:
    answer = await master.api.get("/dlq", **query)
    assert answer.status == 200, answer.json
    return [task["taskId"] for task in answer.json]


async def test_a_failed_task_is_listed_until_it_is_dismissed(master: RunningMaster) -> None:
    (task_id,) = await dead(master, queue="mail")
    (shown,) = (await master.api.get("/dlq")).json
    assert shown == await master.api.task(task_id)
    assert (shown["queue"], shown["errorCode"], shown["deadLetterReason"]) == (
        "mail",
        "EXIT_CODE",
        "MAX_ATTEMPTS_EXCEEDED",
    )
    for _ in range(2):
        answer = await master.api.post(f"/tasks/{task_id}/dismiss")
        assert (answer.status, answer.json) == (200, shown)
    assert await listed(master) == []
    assert await master.api.task(task_id) == shown
    timeline = (await master.api.get(f"/tasks/{task_id}/timeline")).json
    assert [line["actor"] for line in timeline if line["type"] == "dismissed"] == ["local"]
    reasons = (await master.api.get(f"/tasks/{task_id}/explain")).json["reasons"]
    assert [each["code"] for each in reasons] == [
        "exit_code",
        "max_attempts_exceeded",
        "attempts",
        "dismissed",
    ]
    assert len((await master.api.get(f"/tasks/{task_id}/attempts")).json) == 1


async def test_only_what_has_failed_can_be_dismissed(master: RunningMaster) -> None:
    task = await master.api.submit()
    answer = await master.api.post(f"/tasks/{task['taskId']}/dismiss")
    assert (answer.status, answer.code) == (409, "illegal_transition")
    assert (await master.api.post("/tasks/unknown/dismiss")).code == "task_not_found"


async def test_the_list_is_filtered_and_read_in_pages(master: RunningMaster) -> None:
    mail = await dead(master, 3, queue="mail")
    other = await dead(master, 1, queue="other", maxAttempts=5, retry={"notOn": ["exit:75"]})
    assert await listed(master) == other + mail
    assert await listed(master, queue="mail") == mail
    assert await listed(master, reason="NON_RETRYABLE") == other
    assert await listed(master, errorCode="EXIT_CODE", queue="other") == other
    assert await listed(master, errorCode="OOM") == []
    first = await master.api.get("/dlq", limit=3)
    cursor = first.headers["X-Next-Cursor"]
    assert 'rel="next"' in first.headers["Link"]
    second = await master.api.get("/dlq", limit=3, cursor=cursor)
    assert [task["taskId"] for task in first.json + second.json] == other + mail
    assert "X-Next-Cursor" not in second.headers


async def test_a_replay_by_name_leaves_the_original_as_it_is_and_off_the_list(master: RunningMaster) -> None:
    (task_id,) = await dead(master)
    before = await master.api.task(task_id)
    at = datetime.now(UTC) + timedelta(hours=1)
    answer = await master.api.post(f"/tasks/{task_id}/replay", {"queue": "slow", "runAt": at.isoformat()})
    assert (answer.status, answer.json["replayOf"], answer.json["queue"]) == (201, task_id, "slow")
    assert datetime.fromisoformat(answer.json["runAt"]) == at
    assert await master.api.task(task_id) == before
    assert await listed(master) == []
    lines = (await master.api.get(f"/tasks/{task_id}/timeline")).json
    (told,) = (line for line in lines if line["type"] == "replayed")
    assert told["details"] == {"taskId": answer.json["taskId"]}
    again = await master.api.post(f"/tasks/{task_id}/replay")
    assert again.status == 201 and again.json["taskId"] != answer.json["taskId"]


async def bulk(master: RunningMaster, what: str, **body: Any) -> Answer:
    answer = await master.api.post(f"/dlq/{what}", body)
    assert answer.status == 200, answer.json
    return answer


async def test_many_are_replayed_page_by_page_and_never_twice(master: RunningMaster) -> None:
    dead_ids = await dead(master, 3, queue="mail", name="letter")
    kept = await dead(master, 1, queue="other")
    first = (await bulk(master, "replay", queue="mail", limit=2)).json
    assert [each["taskId"] for each in first["replayed"]] == dead_ids[:2][::-1]
    assert (first["refused"], first["more"]) == ([], True)
    # As if the answer had been lost: what was done is not done again.
    rest = (await bulk(master, "replay", queue="mail")).json
    assert [each["taskId"] for each in rest["replayed"]] == dead_ids[2:]
    assert (rest["more"], rest["nextCursor"]) == (False, None)
    beyond = (await bulk(master, "replay", queue="mail", cursor=first["nextCursor"])).json
    assert beyond == {"replayed": [], "refused": [], "more": False, "nextCursor": None}
    for each in first["replayed"] + rest["replayed"]:
        new = await master.api.task(each["replayTaskId"])
        assert (new["replayOf"], new["queue"]) == (each["taskId"], "mail")
    replays = (await master.api.get("/tasks", name="letter", status="pending,scheduled")).json
    assert len(replays) == 3
    assert await listed(master) == kept


async def test_many_are_replayed_elsewhere_and_later(master: RunningMaster) -> None:
    await dead(master, queue="mail")
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    (each,) = (await bulk(master, "replay", toQueue="slow", runAt=at)).json["replayed"]
    new = await master.api.task(each["replayTaskId"])
    assert (new["queue"], datetime.fromisoformat(new["runAt"])) == ("slow", datetime.fromisoformat(at))


async def test_what_may_not_be_replayed_stays_and_does_not_hold_up_the_others(master: RunningMaster) -> None:
    fine = await dead(master, image="fine:1")
    denied = await dead(master, image="bad:1")
    master.server.use_policy(Policy(images=AllowedImages(allow=("fine:*",))))
    done = (await bulk(master, "replay")).json
    assert [each["taskId"] for each in done["replayed"]] == fine
    (refused,) = done["refused"]
    assert (refused["taskId"], refused["code"]) == (denied[0], "policy_denied")
    assert await listed(master) == denied
    (kept,) = (await master.api.get("/ingest/decisions")).json
    assert (kept["door"], kept["taskId"]) == ("replay", denied[0])


async def test_a_page_is_no_longer_than_what_one_may_submit_at_once(master: RunningMaster) -> None:
    dead_ids = await dead(master, 3)
    master.server.use_policy(Policy(limits={"default": Limits(batch=2)}))
    done = (await bulk(master, "replay")).json
    assert ([each["taskId"] for each in done["replayed"]], done["more"]) == (dead_ids[:2][::-1], True)


async def test_many_are_dismissed_page_by_page(master: RunningMaster) -> None:
    await dead(master, 3, queue="mail")
    kept = await dead(master, 1, queue="other")
    first = (await bulk(master, "dismiss", queue="mail", limit=2)).json
    assert (first["dismissed"], first["more"]) == (2, True)
    rest = (await bulk(master, "dismiss", queue="mail", cursor=first["nextCursor"])).json
    assert rest == {"dismissed": 1, "more": False, "nextCursor": None}
    assert (await bulk(master, "dismiss", queue="mail")).json["dismissed"] == 0
    assert await listed(master) == kept
    assert len((await master.api.get("/tasks", queue="mail", status="failed")).json) == 3


async def test_an_order_for_many_is_audited_with_its_filters(master: RunningMaster) -> None:
    await dead(master, 2, queue="mail")
    await bulk(master, "dismiss", queue="mail", reason="MAX_ATTEMPTS_EXCEEDED")
    (entry,) = (await master.api.get("/audit", action="POST /api/v1/dlq/dismiss")).json
    assert entry["ids"] == {"queue": "mail", "reason": "MAX_ATTEMPTS_EXCEEDED", "count": "2"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body, field",
    [
        ({"queue": 5}, "queue"),
        ({"queue": ""}, "queue"),
        ({"reason": "BAD_LUCK"}, "reason"),
        ({"errorCode": ["OOM"]}, "errorCode"),
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"surprise": 1}, "surprise"),
    ],
)
@pytest.mark.parametrize("what", ["replay", "dismiss"])
async def test_an_order_for_many_checks_what_it_is_given(
    shared_master: RunningMaster, what: str, body: dict[str, Any], field: str
) -> None:
    answer = await shared_master.api.post(f"/dlq/{what}", body)
    assert (answer.status, answer.field) == (400, field)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("body, field", [({"toQueue": "no queue"}, "toQueue"), ({"runAt": "now"}, "runAt")])
async def test_a_replay_of_many_checks_where_to_and_when(
    shared_master: RunningMaster, body: dict[str, Any], field: str
) -> None:
    answer = await shared_master.api.post("/dlq/replay", body)
    assert (answer.status, answer.field) == (400, field)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_list_checks_what_it_is_asked(shared_master: RunningMaster) -> None:
    answer = await shared_master.api.get("/dlq", reason="BAD_LUCK")
    assert (answer.status, answer.field) == (400, "reason")
    assert "MAX_ATTEMPTS_EXCEEDED" in answer.json["error"]
