"""Whoever has to know is told: once for each event, through crashes, refusals and floods."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.master.alerting import fail, mail_server_of, make, nothing_waits, options, told
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster, eventually
from tests.master.receivers import WebReceiver, mail_receiver, web_receiver


@pytest.fixture
async def receiver() -> AsyncIterator[WebReceiver]:
    async with web_receiver() as found:
        yield found


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    return await masters.start(alerts=options())


async def test_a_failed_task_is_told_signed_and_once(master: RunningMaster, receiver: WebReceiver) -> None:
    rule = await make(master, "ops", http=receiver.url)
    worker = await master.worker("one")
    task_id = await fail(master, worker, name="nightly", labels={"team": "a"}, env={"KEY": "geheim-4711"})
    (call,) = await receiver.calls.until(1)
    assert call.is_signed_with(rule["secret"])
    assert call.headers["Podling-Delivery"] == call.id
    assert "geheim-4711" not in call.body.decode()
    body = call.json
    assert (body["id"], body["type"], body["rule"]) == (call.id, "task.failed", "ops")
    assert body["text"] == "podling: nightly failed on one.test: exit code 1"
    data = body["data"]
    assert (data["taskId"], data["exitCode"], data["error"]) == (task_id, 1, "it broke")
    assert (data["attempt"], data["nodeId"], data["labels"]) == (1, "one", {"team": "a"})
    (line,) = await told(master, task_id, "alert_sent")
    assert line["message"] == "alert ops about failed was sent: HTTP 200"
    standing = await nothing_waits(master, "ops")
    assert standing["lastError"] is None
    assert len(receiver.calls.items) == 1


async def test_the_secret_is_shown_once(master: RunningMaster, receiver: WebReceiver) -> None:
    made = await make(master, "ops", http=receiver.url)
    assert made["secret"].startswith("whsec_")
    again = (await master.api.put("/alerts/ops", {"http": receiver.url, "on": ["completed"]})).json
    for view in (
        again,
        (await master.api.get("/alerts/ops")).json,
        (await master.api.get("/alerts")).json[0],
    ):
        assert "secret" not in view and view["hasSecret"] is True
        assert view["on"] == ["completed"]
    assert (await master.api.put("/alerts/ops", again)).status == 200  # what a read gave can be put again
    worker = await master.worker()
    work = await worker.assigned((await master.api.submit())["taskId"])
    await worker.end(work)
    (call,) = await receiver.calls.until(1)
    assert call.is_signed_with(made["secret"])


async def test_rules_choose_by_queue_label_name_and_event(
    master: RunningMaster, receiver: WebReceiver
) -> None:
    for name, rule in {
        "queue": {"queue": "nightly"},
        "label": {"labels": {"team": "a"}},
        "name": {"taskName": "backup"},
        "named": {"namedOnly": True},
        "retrying": {"on": ["retrying"]},
        "completed": {"on": ["completed", "cancelled"]},
    }.items():
        await make(master, name, http=f"{receiver.url}/{name}", **rule)
    worker = await master.worker()
    await fail(master, worker, queue="nightly")
    await fail(master, worker, labels={"team": "a", "more": "b"})
    await fail(master, worker, name="backup")
    await fail(master, worker, alerts=["named"])
    retried = await fail(master, worker, name="again", maxAttempts=2, retry={"baseSeconds": 0})
    await worker.end(await worker.assigned(retried, 2))
    cancelled = (await master.api.submit(runAt="2090-01-01T00:00:00Z"))["taskId"]
    await master.api.post(f"/tasks/{cancelled}/cancel")
    calls = await receiver.calls.until(7)
    assert sorted((call.json["rule"], call.json["type"]) for call in calls) == [
        ("completed", "task.cancelled"),
        ("completed", "task.completed"),
        ("label", "task.failed"),
        ("name", "task.failed"),
        ("named", "task.failed"),
        ("queue", "task.failed"),
        ("retrying", "task.retrying"),
    ]
    (again,) = [call.json for call in calls if call.json["type"] == "task.retrying"]
    assert (again["data"]["attempt"], again["data"]["exitCode"]) == (1, 1)
    assert again["data"]["nextAttemptAt"] is not None


async def test_what_fails_is_tried_again_under_the_same_id(
    master: RunningMaster, receiver: WebReceiver
) -> None:
    receiver.answer = lambda count: web.Response(status=500, text="busy\n") if count < 2 else web.Response()
    await make(master, "ops", http=receiver.url)
    task_id = await fail(master, await master.worker())
    calls = await receiver.calls.until(3)
    assert len({call.id for call in calls}) == 1
    assert len({call.body for call in calls}) == 1
    await told(master, task_id, "alert_sent")
    assert (await nothing_waits(master, "ops"))["lastError"] is None


async def test_it_is_given_up_visibly(master: RunningMaster, receiver: WebReceiver) -> None:
    receiver.answer = lambda count: web.Response(status=503, text="closed for ever")
    await make(master, "ops", http=receiver.url)
    task_id = await fail(master, await master.worker())
    (line,) = await told(master, task_id, "alert_failed")
    assert line["message"] == (
        "alert ops about failed was given up after 4 tries: it answered HTTP 503: closed for ever"
    )
    assert len(receiver.calls.items) == 4
    assert (await nothing_waits(master, "ops"))["lastError"] == "it answered HTTP 503: closed for ever"


async def test_nobody_follows_a_redirect(master: RunningMaster, receiver: WebReceiver) -> None:
    receiver.answer = lambda count: web.Response(status=307, headers={"Location": receiver.url})
    await make(master, "ops", http=receiver.url)
    task_id = await fail(master, await master.worker())
    (line,) = await told(master, task_id, "alert_failed")
    assert "redirect (HTTP 307), which is not followed" in line["message"]
    assert len(receiver.calls.items) == 1


async def test_a_flood_becomes_few_messages(master: RunningMaster, receiver: WebReceiver) -> None:
    await make(master, "ops", http=receiver.url, maxPerMinute=3)
    receiver.gate.clear()  # so that all of it waits while the first one is on its way
    worker = await master.worker(slots=30)
    first = await fail(master, worker, name="first")
    await receiver.calls.until(1)
    flood = [await fail(master, worker, name=f"more-{number}") for number in range(12)]
    receiver.gate.set()
    calls = await receiver.calls.until(3)
    for task_id in (first, *flood):
        await told(master, task_id, "alert_sent")
    assert len(receiver.calls.items) == 3
    bodies = [call.json for call in calls]
    assert sum(1 + body["moreCount"] for body in bodies) == 13
    assert bodies[-1]["moreCount"] == 10
    assert bodies[-1]["text"].endswith("(and 10 more)")
    assert {item["taskId"] for item in bodies[-1]["more"]} < set(flood)


async def test_a_receiver_that_hangs_holds_up_nobody_else(
    master: RunningMaster, receiver: WebReceiver
) -> None:
    async with web_receiver() as other:
        other.gate.clear()
        await make(master, "hangs", http=other.url)
        worker = await master.worker()
        await fail(master, worker)
        await other.calls.until(1)
        await make(master, "works", http=receiver.url)
        await fail(master, worker)
        await receiver.calls.until(1)
        other.gate.set()


async def test_the_next_leader_sends_what_was_on_its_way(masters: Masters, receiver: WebReceiver) -> None:
    first = await masters.start("one", alerts=options(), lease_seconds=SHORT_LEASE_SECONDS)
    await make(first, "ops", http=receiver.url)
    receiver.gate.clear()
    task_id = await fail(first, await first.worker())
    (call,) = await receiver.calls.until(1)
    await first.stop()  # before it heard an answer
    receiver.gate.set()
    second = await masters.start("two", alerts=options(), lease_seconds=SHORT_LEASE_SECONDS)
    await told(second, task_id, "alert_sent")
    assert [again.id for again in receiver.calls.items] == [call.id, call.id]
    assert (await nothing_waits(second, "ops"))["lastError"] is None


async def test_a_rule_made_at_one_master_counts_at_the_others(
    masters: Masters, receiver: WebReceiver
) -> None:
    leader = await masters.start("one", alerts=options(), dialable=True)
    other = await masters.start("two", alerts=options(), dialable=True)
    await make(other, "ops", http=receiver.url)
    await eventually(lambda: _knows(leader, "ops"), "the rule at the leader")
    task_id = await fail(other, await other.worker())
    await receiver.calls.until(1)
    await told(leader, task_id, "alert_sent")


async def _knows(master: RunningMaster, name: str) -> bool:
    return name in master.server.context.alerts.rules


async def test_a_lost_node_and_its_tasks_are_told(masters: Masters, receiver: WebReceiver) -> None:
    master = await masters.start(alerts=options(), lease_seconds=SHORT_LEASE_SECONDS)
    await make(master, "ops", http=receiver.url, on=["node_lost", "lost", "held", "retrying"])
    worker = await master.worker("one")
    tasks = [
        await master.api.submit(name=name, onLost=on) for name, on in (("again", "retry"), ("holds", "hold"))
    ]
    for task in tasks:
        await worker.start(await worker.assigned(task["taskId"]))
    await worker.vanish()
    calls = await receiver.calls.until(4)
    assert sorted(call.json["text"] for call in calls) == [
        "podling: again failed and will be tried again on one.test: NODE_LOST",
        "podling: again was lost on one.test: NODE_LOST",
        "podling: holds is held on one.test",
        "podling: node one.test is lost",
    ]
    (node,) = [call.json for call in calls if call.json["type"] == "node.lost"]
    assert node["data"]["nodeId"] == "one" and "whole lease" in node["data"]["error"]


async def test_a_task_names_whom_to_tell(masters: Masters, receiver: WebReceiver) -> None:
    async with mail_receiver() as mailbox:
        master = await masters.start(alerts=options(mail=mail_server_of(mailbox)))
        wishes = [{"on": ["completed"], "http": receiver.url}, "mailto:me@example.org", receiver.url]
        task = await master.api.submit(alerts=wishes)
        assert task["alerts"] == [
            {"rule": None, "on": ["completed"], "http": receiver.url, "mail": [], "listedOnly": False},
            {"rule": None, "on": [], "http": None, "mail": ["me@example.org"], "listedOnly": False},
            {"rule": None, "on": [], "http": receiver.url, "mail": [], "listedOnly": False},
        ]
        assert (await master.api.post("/tasks", task)).status == 201  # what a read gave can be posted
        worker = await master.worker()
        await worker.end(await worker.assigned(task["taskId"]), 3)
        (mail,) = await mailbox.mails.until(1)
        (call,) = await receiver.calls.until(1)
        assert not worker.assignments[0].spec.alerts  # that is nothing for a worker
        assert mail.recipients == ("me@example.org",)
        assert call.json["type"] == "task.failed" and "webhook-signature" not in call.headers
        lines = await told(master, task["taskId"], "alert_sent")
        assert not any("/hook" in line["message"] for line in lines)


async def test_a_removed_rule_is_told_as_the_reason(master: RunningMaster, receiver: WebReceiver) -> None:
    await make(master, "ops", http=receiver.url, namedOnly=True)
    worker = await master.worker()
    task = await master.api.submit(alerts=["ops"])
    assert (await master.api.delete("/alerts/ops")).json == {"message": "alert deleted"}
    await worker.end(await worker.assigned(task["taskId"]), 1)
    (line,) = await told(master, task["taskId"], "alert_failed")
    assert "there is no alert rule ops any more" in line["message"]
    assert not receiver.calls.items


async def test_a_test_shows_what_the_receiver_said(master: RunningMaster, receiver: WebReceiver) -> None:
    await make(master, "ops", http=receiver.url)
    tried = await master.api.post("/alerts/ops/test")
    assert (tried.status, tried.json) == (200, {"name": "ops", "delivered": True, "answer": "HTTP 200"})
    assert receiver.calls.items[0].json["data"]["error"] == "this is a test: nothing has failed"
    receiver.answer = lambda count: web.Response(status=404, text="nobody\x1b[31m here")
    tried = await master.api.post("/alerts/ops/test")
    assert tried.json == {
        "name": "ops",
        "delivered": False,
        "answer": "it answered HTTP 404: nobody [31m here",
    }
    assert (await master.api.post("/alerts/other/test")).code == "alert_not_found"
