"""Queues by REST: declared or used, limited, paused, and known to every master at once."""

import asyncio
from typing import Any

import pytest

from podling.core.queue import QueuePolicy
from tests.master.masters import Masters, RunningMaster

OFF: dict[str, Any] = {
    "maxInFlight": None,
    "maxPerMinute": None,
    "maxPerKey": None,
    "throttleDelaySeconds": None,
    "weight": None,
    "ageingSeconds": None,
    "maxPayloadBytes": None,
    "maxSubmitsPerMinute": None,
    "paused": False,
    "running": 0,
}


async def test_a_queue_is_there_from_its_first_task_on(master: RunningMaster) -> None:
    assert (await master.api.get("/queues/mail")).code == "queue_not_found"
    await master.api.submit(queue="mail")
    assert (await master.api.get("/queues")).json == [{"name": "mail"} | OFF]
    assert (await master.api.get("/queues/mail")).json == {"name": "mail"} | OFF
    assert (await master.api.get("/queues/default")).json == {"name": "default"} | OFF


async def test_limits_are_replaced_as_a_whole(master: RunningMaster) -> None:
    made = await master.api.put("/queues/etl", {"maxInFlight": 5, "weight": 2})
    assert (made.status, made.json) == (201, OFF | {"name": "etl", "maxInFlight": 5, "weight": 2})
    changed = await master.api.put("/queues/etl", {"maxPerMinute": 60, "weight": None})
    assert (changed.status, changed.json) == (200, OFF | {"name": "etl", "maxPerMinute": 60})
    again = await master.api.put("/queues/etl", changed.json)
    assert again.json == changed.json
    assert master.server.context.queues.of("etl") == QueuePolicy(max_per_minute=60)


async def test_a_pause_stays_until_it_is_taken_off(master: RunningMaster) -> None:
    assert (await master.api.post("/queues/etl/pause")).code == "queue_not_found"
    for name in ("default", "*"):
        assert (await master.api.post(f"/queues/{name}/pause")).json["paused"] is True
    assert (await master.api.put("/queues/default", {"maxInFlight": 1})).json["paused"] is True
    assert (await master.api.post("/queues/default/resume")).json["paused"] is False
    assert master.server.context.queues.of_all.paused is True


async def test_a_put_says_whether_it_is_paused(master: RunningMaster) -> None:
    made = await master.api.put("/queues/etl", {"maxInFlight": 1, "paused": True})
    assert (made.status, made.json["paused"]) == (201, True)
    assert (await master.api.put("/queues/etl", {"paused": None})).json == OFF | {
        "name": "etl",
        "paused": True,
    }
    assert master.server.context.queues.of("etl").paused is True
    assert (await master.api.put("/queues/etl", {"paused": False})).json["paused"] is False
    assert master.server.context.queues.of("etl").paused is False


async def test_a_queue_without_tasks_is_removed_with_its_limits(masters: Masters) -> None:
    one, two = await masters.start(), await masters.start()
    ended = await one.api.submit(queue="etl")
    await one.api.post(f"/tasks/{ended['taskId']}/cancel")
    await two.api.put("/queues/etl", {"maxInFlight": 1})
    removed = await two.api.delete("/queues/etl")
    assert (removed.status, removed.json) == (200, {"message": "queue deleted"})
    assert (await two.api.delete("/queues/etl")).code == "queue_not_found"
    await one.server.context.queues.learn()
    assert one.server.context.queues.of("etl") == QueuePolicy()
    assert (await one.api.get(f"/tasks/{ended['taskId']}")).json["status"] == "cancelled"
    await one.api.submit(queue="etl")  # whose master has declared it before
    assert (await two.api.get("/queues/etl")).json == {"name": "etl"} | OFF


async def test_a_queue_with_work_to_do_is_not_removed(master: RunningMaster) -> None:
    task = await master.api.submit(queue="etl")
    await master.api.post(
        "/schedules", {"name": "nightly", "cron": "0 3 * * *", "task": {"image": "a:1", "queue": "etl"}}
    )
    busy = await master.api.delete("/queues/etl")
    assert (busy.status, busy.code) == (409, "queue_busy")
    assert busy.json["details"] == {"queue": "etl", "taskIds": [task["taskId"]]}
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    named = await master.api.delete("/queues/etl")
    assert (named.status, named.code) == (409, "queue_named")
    assert "schedule nightly submits to queue etl" in named.json["error"]
    await master.api.delete("/schedules/nightly")
    assert (await master.api.delete("/queues/etl")).status == 200


async def test_two_queues_are_always_there(master: RunningMaster) -> None:
    for name in ("default", "*"):
        refused = await master.api.delete(f"/queues/{name}")
        assert (refused.status, refused.code) == (409, "queue_always_there")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "limits", "field"),
    [
        ("etl", {"maxInFlight": 0}, "maxInFlight"),
        ("etl", {"maxInFlight": True}, "maxInFlight"),
        ("etl", {"maxPerMinute": -1}, "maxPerMinute"),
        ("etl", {"throttleDelaySeconds": 0}, "throttleDelaySeconds"),
        ("etl", {"throttleDelaySeconds": 1e9}, "throttleDelaySeconds"),
        ("etl", {"ageingSeconds": 1e18}, "ageingSeconds"),
        ("etl", {"weight": 1.5}, "weight"),
        ("etl", {"weight": 1001}, "weight"),
        ("etl", {"maxPayloadBytes": 2**63}, "maxPayloadBytes"),
        ("etl", {"name": "mail"}, "name"),
        ("etl", {"priority": 1}, "priority"),
        ("*", {"weight": 1}, "weight"),
        ("*", {"maxPerKey": 1}, "maxPerKey"),
    ],
)
async def test_what_means_nothing_is_refused(
    shared_master: RunningMaster, name: str, limits: dict[str, Any], field: str
) -> None:
    refused = await shared_master.api.put(f"/queues/{name}", limits)
    assert (refused.status, refused.field) == (400, field)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["-", "a%2Fb", "%2A%2A", "x" * 129])
async def test_what_cannot_be_a_queue_is_not_declared_and_not_found(
    shared_master: RunningMaster, name: str
) -> None:
    refused = await shared_master.api.put(f"/queues/{name}", {})
    assert (refused.status, refused.field) == (400, "name")
    assert (await shared_master.api.get(f"/queues/{name}")).status == 404
    assert (await shared_master.api.post(f"/queues/{name}/pause")).status == 404


async def test_every_master_knows_it_soon(masters: Masters) -> None:
    leader, follower = await masters.start(), await masters.start(poll_seconds=60.0)
    known = asyncio.Event()
    leader.server.context.queues.listen(known.set)
    await follower.api.put("/queues/etl", {"maxInFlight": 1})
    assert follower.server.context.queues.of("etl").max_in_flight == 1
    async with asyncio.timeout(10):
        await known.wait()
    assert leader.server.context.queues.of("etl").max_in_flight == 1
