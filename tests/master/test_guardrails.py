"""What a queue takes: the same at every door, each refusal told, kept and listed."""

import asyncio
from typing import Any

import pytest

from tests.master.masters import Answer, Masters, RunningMaster, task_body

LARGE = {"env": {"DATA": "x" * 1000}}


async def limit(master: RunningMaster, queue: str, **limits: Any) -> None:
    answer = await master.api.put(f"/queues/{queue}", limits)
    assert answer.status in (200, 201), answer.json


async def kept(master: RunningMaster, **query: Any) -> list[dict[str, Any]]:
    answer = await master.api.get("/ingest/decisions", **query)
    assert answer.status == 200
    return list(answer.json)


async def submits(master: RunningMaster, count: int, **fields: Any) -> list[Answer]:
    return [await master.api.post("/tasks", task_body(**fields)) for _ in range(count)]


@pytest.mark.parametrize("queue", ["mail", "*"])
async def test_what_is_too_large_is_refused_and_kept(master: RunningMaster, queue: str) -> None:
    await limit(master, queue, maxPayloadBytes=500)
    assert (await submits(master, 1, queue="mail"))[0].status == 201
    answers = [
        *await submits(master, 1, queue="mail", **LARGE),
        *await submits(master, 1, queue="mail", env={"DATA": "x" * 2000}),
    ]
    for answer in answers:
        assert (answer.status, answer.code) == (413, "payload_too_large")
    details = answers[1].json["details"]
    assert (details["rule"], details["limit"]) == (f"queues.{queue}.maxPayloadBytes", 500)
    assert 2000 < details["bytes"] < 2300
    (decision,) = await kept(master)
    assert (decision["code"], decision["count"], decision["door"], decision["actor"]) == (
        "PAYLOAD_TOO_LARGE",
        2,
        "submit",
        "local",
    )
    assert decision["details"] == details
    assert len((await master.api.get("/tasks")).json) == 1


async def test_of_a_function_the_payload_is_what_counts(master: RunningMaster) -> None:
    await limit(master, "mail", maxPayloadBytes=20)
    function = {"image": None, "runtime": "python", "handler": "send", "queue": "mail"}
    (fits,) = await submits(master, 1, **function, labels={"team": "x" * 60}, payload={"to": "01234567890"})
    assert fits.status == 201
    (large,) = await submits(master, 1, **function, payload={"to": "012345678901"})
    assert (large.status, large.code) == (413, "payload_too_large")
    assert large.json["details"]["bytes"] == 21 and large.json["error"].startswith("the payload has 21 bytes")


async def test_another_queue_s_limits_are_not_one_s_own(master: RunningMaster) -> None:
    await limit(master, "mail", maxPayloadBytes=500, maxSubmitsPerMinute=1)
    answers = await submits(master, 3, queue="etl", **LARGE)
    assert [answer.status for answer in answers] == [201, 201, 201]
    assert await kept(master) == []


@pytest.mark.parametrize("queue", ["mail", "*"])
async def test_more_than_so_many_a_minute_are_refused_and_kept(master: RunningMaster, queue: str) -> None:
    await limit(master, queue, maxSubmitsPerMinute=3)
    answers = await submits(master, 9, queue="mail")  # a minute may end among them: 6 at most are let in
    refused = [answer for answer in answers if answer.status != 201]
    assert 3 <= len(refused) <= 6
    for answer in refused:
        assert (answer.status, answer.code) == (429, "enqueue_rate_exceeded")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.json["details"]["retryAfterSeconds"] == int(answer.headers["Retry-After"])
    (decision,) = await kept(master, code="ENQUEUE_RATE_EXCEEDED")
    assert (decision["count"], decision["door"]) == (len(refused), "submit")
    assert decision["details"]["rule"] == f"queues.{queue}.maxSubmitsPerMinute"


async def test_what_all_queues_refuse_is_not_counted_in_the_queue_itself(master: RunningMaster) -> None:
    await limit(master, "*", maxSubmitsPerMinute=1)
    await limit(master, "mail", maxSubmitsPerMinute=2)
    await submits(master, 6, queue="mail")
    await limit(master, "*")
    answers = await submits(master, 2, queue="mail")
    assert 201 in [answer.status for answer in answers]


async def test_batches_and_replays_are_asked_the_same(master: RunningMaster) -> None:
    large = await master.api.submit(queue="mail", **LARGE)
    await master.api.post(f"/tasks/{large['taskId']}/cancel")
    await limit(master, "mail", maxPayloadBytes=500)
    items = [task_body(queue="mail", **LARGE), task_body(queue="mail")]
    first, second = (await master.api.post("/tasks:batch", {"tasks": items})).json
    assert (first["code"], "taskId" in second) == ("payload_too_large", True)
    replayed = await master.api.post(f"/tasks/{large['taskId']}/replay")
    assert (replayed.status, replayed.code) == (413, "payload_too_large")
    doors = {decision["door"]: decision["taskId"] for decision in await kept(master)}
    assert doors == {"batch": None, "replay": large["taskId"]}
    timeline = (await master.api.get(f"/tasks/{large['taskId']}/timeline")).json
    assert "PAYLOAD_TOO_LARGE" in [line["type"] for line in timeline]


async def test_dead_letters_stay_where_their_queue_takes_no_more(master: RunningMaster) -> None:
    worker = await master.worker()
    tasks = [await master.api.submit(queue="mail") for _ in range(4)]
    for task in tasks:
        await worker.end(await worker.assigned(task["taskId"]), 1)
    await limit(master, "mail", maxSubmitsPerMinute=1)
    done = (await master.api.post("/dlq/replay")).json
    assert 1 <= len(done["replayed"]) <= 2
    assert {each["code"] for each in done["refused"]} == {"enqueue_rate_exceeded"}
    assert len((await master.api.get("/dlq")).json) == len(done["refused"]) == 4 - len(done["replayed"])


async def test_all_masters_together_let_in_no_more_than_the_limit(masters: Masters) -> None:
    first = await masters.start()
    second = await masters.start("machine-2")
    await limit(first, "mail", maxSubmitsPerMinute=10)
    await second.server.context.queues.learn()
    answers = await asyncio.gather(*(submits(each, 25, queue="mail") for each in (first, second)))
    let_in = sum(answer.status == 201 for part in answers for answer in part)
    assert let_in in range(10, 21)  # a minute may have ended among them
    await asyncio.gather(*(each.server.context.decisions.run_once() for each in (first, second)))
    assert sum(decision["count"] for decision in await kept(first)) == 50 - let_in
