"""`/api/v1/schedules`, as a program sees it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.access import Role
from podling.core.permissions import Policy
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.tokens import add_token, showing

EVERY_SECOND = "* * * * * *"


def body(**fields: Any) -> dict[str, Any]:
    task = {"image": "busybox:local", "args": ["true"]} | fields.pop("task", {})
    return {"name": "nightly", "cron": "0 3 * * *", "task": task} | fields


async def make(master: RunningMaster, **fields: Any) -> dict[str, Any]:
    answer = await master.api.post("/schedules", body(**fields))
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def started(master: RunningMaster, name: str, least: int = 1) -> list[dict[str, Any]]:
    """Wait for so many fires that have started a task, newest first."""

    async def find() -> list[dict[str, Any]] | None:
        fires = (await master.api.get(f"/schedules/{name}/fires", outcome="started")).json
        return fires if len(fires) >= least else None

    return list(await eventually(find, f"{least} fires of {name}"))


async def test_a_schedule_is_made_read_by_id_and_name_listed_and_removed(master: RunningMaster) -> None:
    made = await make(master, timeZone="Europe/Berlin", jitterSeconds=1.5, catchUp="all", maxCatchUp=3)
    assert (made["overlap"], made["paused"], made["lastFire"]) == ("allow", False, None)
    assert made["task"]["name"] == "nightly" and made["task"]["image"] == "busybox:local"
    assert len(made["nextFires"]) == 5 and made["nextFires"] == sorted(made["nextFires"])
    for key in (made["scheduleId"], "nightly"):
        assert (await master.api.get(f"/schedules/{key}")).json == made
    assert (await master.api.get("/schedules")).json == [made]
    assert (await master.api.delete("/schedules/nightly")).json == {"message": "schedule deleted"}
    missing = await master.api.get("/schedules/nightly")
    assert (missing.status, missing.code) == (404, "schedule_not_found")


async def test_what_was_read_can_be_posted_again(master: RunningMaster) -> None:
    made = await make(master, task={"env": {"A": "1"}, "resources": {"limits": {"memory": "64Mi"}}})
    again = await master.api.put("/schedules/nightly", made)
    assert again.status == 200, again.text
    same = made.keys() - {"updatedAt"}
    assert {name: again.json[name] for name in same} == {name: made[name] for name in same}


async def test_a_list_goes_on_where_the_page_ended(master: RunningMaster) -> None:
    names = [(await make(master, name=f"s{number}"))["name"] for number in range(3)]
    first = await master.api.get("/schedules", limit="2")
    rest = await master.api.get("/schedules", limit="2", cursor=first.headers["X-Next-Cursor"])
    assert [one["name"] for one in first.json + rest.json] == names[::-1]
    assert "X-Next-Cursor" not in rest.headers


BAD: list[tuple[dict[str, Any], str]] = [
    ({"cron": "0 0 30 2 *"}, "cron"),
    ({"cron": 5}, "cron"),
    ({"timeZone": "Mars/Olympus"}, "timeZone"),
    ({"overlap": "maybe"}, "overlap"),
    ({"catchUp": "some"}, "catchUp"),
    ({"maxCatchUp": True}, "maxCatchUp"),
    ({"jitterSeconds": -1}, "jitterSeconds"),
    ({"name": "a/b"}, "name"),
    ({"surprise": 1}, "surprise"),
    ({"task": {"image": "-v"}}, "task.image"),
    ({"task": {"surprise": 1}}, "task.surprise"),
    ({"task": {"runAt": "2030-01-01T00:00:00Z"}}, "task.runAt"),
    ({"task": {"idempotencyKey": "k"}}, "task.idempotencyKey"),
]


async def test_bad_input_is_refused_by_field(master: RunningMaster) -> None:
    for fields, field in BAD:
        answer = await master.api.post("/schedules", body(**fields))
        assert (answer.status, answer.field) == (400, field), answer.text


async def test_a_task_that_may_not_be_submitted_is_refused_as_at_its_own_door(master: RunningMaster) -> None:
    denied = await master.api.post("/schedules", body(task={"image": "box", "privileged": True}))
    assert (denied.status, denied.code, denied.field) == (403, "policy_denied", "task.privileged")
    await master.api.put("/queues/default", {"maxPayloadBytes": 100, "maxSubmitsPerMinute": 1})
    large = await master.api.post("/schedules", body(task={"image": "box", "env": {"A": "x" * 200}}))
    assert (large.status, large.code) == (413, "payload_too_large")
    assert large.json["error"].startswith("the task has")
    for name in ("one", "two"):  # to make a schedule is no submit
        await make(master, name=name)


async def test_a_task_is_needed_and_names_are_unique(master: RunningMaster) -> None:
    without = await master.api.post("/schedules", {"name": "nightly", "cron": "@daily"})
    assert (without.status, without.field) == (400, "task")
    await make(master)
    twice = await master.api.post("/schedules", body())
    assert (twice.status, twice.code) == (409, "schedule_exists")
    await make(master, name="other")
    renamed = await master.api.put("/schedules/other", body())
    assert (renamed.status, renamed.code) == (409, "schedule_exists")


async def test_a_schedule_is_given_another_name(master: RunningMaster) -> None:
    made = await make(master, name="nightly")
    await make(master, name="weekly")
    taken = await master.api.put("/schedules/nightly", body(name="weekly"))
    assert (taken.status, taken.code) == (409, "schedule_exists")
    renamed = await master.api.put("/schedules/nightly", body(name="daily"))
    assert (renamed.status, renamed.json["name"]) == (200, "daily")
    assert (await master.api.get("/schedules/nightly")).status == 404
    assert (await master.api.get("/schedules/daily")).json["scheduleId"] == made["scheduleId"]


async def test_what_fired_in_another_cluster_is_not_fired_again(master: RunningMaster) -> None:
    now = master.server.context.clock.now()
    fired = {"fireTime": (now + timedelta(minutes=10)).isoformat(), "outcome": "started"}
    ahead = await make(master, name="ahead", cron="* * * * *", lastFire=fired)
    assert datetime.fromisoformat(ahead["nextFires"][0]) > now + timedelta(minutes=10)
    for name, last in (
        ("late", {"fireTime": "2020-01-01T00:00:00Z"}),
        ("odd", {"fireTime": "x"}),
        ("none", 7),
    ):
        made = await make(master, name=name, cron="* * * * *", lastFire=last)
        assert now < datetime.fromisoformat(made["nextFires"][0]) <= now + timedelta(minutes=2)
    assert (await master.api.get("/schedules/late/fires")).json == []


async def test_it_fires_soon_after_it_was_made_and_tells_of_it(master: RunningMaster) -> None:
    await make(master, name="every", cron=EVERY_SECOND, task={"labels": {"a": "b"}})
    fires = await started(master, "every", 2)
    assert all(fire["fireTime"].endswith(".000000Z") for fire in fires)
    task = await master.api.task(fires[-1]["taskId"])
    assert (task["name"], task["labels"]) == ("every", {"a": "b"})
    shown = (await master.api.get("/schedules/every")).json
    assert shown["lastFire"]["outcome"] == "started"
    assert datetime.fromisoformat(shown["nextFires"][0]) > datetime.fromisoformat(fires[0]["fireTime"])
    timeline = (await master.api.get(f"/tasks/{fires[-1]['taskId']}/timeline")).json
    assert "schedule_fired" in [line["type"] for line in timeline]
    page = await master.api.get("/schedules/every/fires", limit="1")
    older = await master.api.get("/schedules/every/fires", cursor=page.headers["X-Next-Cursor"])
    assert older.json[0]["fireTime"] < page.json[0]["fireTime"]


async def test_a_paused_one_waits_and_a_resumed_one_begins_anew(master: RunningMaster) -> None:
    await make(master, name="every", cron=EVERY_SECOND, paused=True)
    paused = (await master.api.get("/schedules/every")).json
    assert paused["paused"] and paused["nextFires"] == []
    before = datetime.now(UTC)
    assert (await master.api.post("/schedules/every/resume")).json["paused"] is False
    (*_, first) = await started(master, "every")
    assert datetime.fromisoformat(first["fireTime"]) > before
    assert (await master.api.post("/schedules/every/pause")).json["paused"] is True
    assert (await master.api.put("/schedules/every", body(name="every"))).json["paused"] is True


async def test_it_is_run_by_hand_with_other_fields(master: RunningMaster) -> None:
    await make(master, task={"env": {"A": "1", "B": "2"}}, paused=True)
    plain = await master.api.post("/schedules/nightly/run")
    assert (plain.status, plain.json["args"], plain.json["env"]) == (201, ["true"], {"A": "1", "B": "2"})
    other = await master.api.post(
        "/schedules/nightly/run", {"env": {"B": "3"}, "args": ["false"], "priority": 5}
    )
    assert (other.json["env"], other.json["args"]) == ({"A": "1", "B": "3"}, ["false"])
    assert other.json["priority"] == 5
    fires = (await master.api.get("/schedules/nightly/fires")).json
    assert [(fire["manual"], fire["taskId"]) for fire in fires] == [
        *((True, other.json["taskId"]), (True, plain.json["taskId"]))
    ]
    for fields, field in (
        ({"image": "-v"}, "image"),
        ({"x": 1}, "x"),
    ):
        refused = await master.api.post("/schedules/nightly/run", fields)
        assert (refused.status, refused.field) == (400, field)


async def test_run_by_hand_under_one_key_is_one_run(master: RunningMaster) -> None:
    await make(master, name="alone", overlap="skip")
    await make(master, name="other")
    first = await master.api.post("/schedules/alone/run", {"idempotencyKey": "today"})
    again = await master.api.post("/schedules/alone/run", headers={"Idempotency-Key": "today"})
    assert (first.status, again.status) == (201, 200)
    assert first.json["taskId"] == again.json["taskId"]
    assert len((await master.api.get("/schedules/alone/fires")).json) == 1
    different = await master.api.post("/schedules/alone/run", {"idempotencyKey": "today", "priority": 3})
    assert (different.status, different.code) == (409, "idempotency_mismatch")
    await master.api.post(f"/tasks/{first.json['taskId']}/cancel")
    later = [await master.api.post(f"/schedules/{name}/run", {"idempotencyKey": key})
             for name, key in (("alone", "today"), ("alone", "tomorrow"), ("other", "today"))]  # fmt: skip
    assert [answer.status for answer in later] == [200, 201, 201]
    both = await asyncio.gather(
        *(master.api.post("/schedules/other/run", {"idempotencyKey": "twice"}) for _ in range(2))
    )
    assert len({answer.json["taskId"] for answer in both}) == 1


async def test_run_by_hand_keeps_to_the_overlap(master: RunningMaster) -> None:
    await make(master, name="alone", overlap="skip")
    first = (await master.api.post("/schedules/alone/run")).json["taskId"]
    refused = await master.api.post("/schedules/alone/run")
    assert (refused.status, refused.code) == (409, "schedule_overlap")
    await master.api.post(f"/tasks/{first}/cancel")
    assert (await master.api.post("/schedules/alone/run")).status == 201
    await make(master, name="newest", overlap="replace")
    first = (await master.api.post("/schedules/newest/run")).json["taskId"]
    assert (await master.api.post("/schedules/newest/run")).status == 201
    assert (await master.api.task(first))["status"] == "cancelled"


async def test_who_may_not_submit_it_may_not_schedule_or_run_it(masters: Masters) -> None:
    master = await masters.start(policy=Policy())
    _, secret = await add_token(master, Role.SUBMITTER, name="me")
    async with showing(master, secret) as api:
        denied = await api.post("/schedules", body(task={"privileged": True}))
        assert (denied.status, denied.code) == (403, "policy_denied")
        made = await api.post("/schedules", body())
        assert made.json["owner"] == "me"
        denied = await api.post("/schedules/nightly/run", {"privileged": True})
        assert (denied.status, denied.code) == (403, "policy_denied")
        denied = await api.put("/schedules/nightly", body(task={"privileged": True}))
        assert (denied.status, denied.code) == (403, "policy_denied")


async def test_a_schedule_made_at_one_master_fires_at_the_other(masters: Masters) -> None:
    leader, other = await masters.start("machine-1"), await masters.start("machine-2")
    await make(other, name="every", cron=EVERY_SECOND)
    fires = await started(other, "every")
    assert leader.server.context.leads and fires[0]["taskId"]


async def test_a_killed_leader_misses_and_doubles_nothing(masters: Masters) -> None:
    """The leader renews no more, without knowing it; the times that were decided have no gap."""
    running = [await masters.start(f"machine-{number}", 1.0) for number in (1, 2)]
    for number in range(20):
        await make(running[1], name=f"every-{number}", cron=EVERY_SECOND, catchUp="all", maxCatchUp=1000)
    await started(running[1], "every-0", 2)
    for killed in running[:1]:
        (election,) = [loop for loop in killed.server._running if loop.get_name() == "election"]
        election.cancel()
        count = len(await started(running[1], "every-0"))
        await started(running[1], "every-0", count + 3)
    for number in range(20):
        fires = (await running[1].api.get(f"/schedules/every-{number}/fires")).json
        times = [int(datetime.fromisoformat(fire["fireTime"]).timestamp()) for fire in fires]
        assert times == list(range(times[0], times[-1] - 1, -1)), "each second once"
        assert len({fire["taskId"] for fire in fires}) == len(fires)
        assert {fire["outcome"] for fire in fires} == {"started"}
        tasks = (await running[1].api.get("/tasks", name=f"every-{number}")).json
        assert len(tasks) in (len(fires), len(fires) + 1)  # one more may have fired meanwhile
