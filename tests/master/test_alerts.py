"""Whoever has to know is told: once for each event, through crashes, refusals and floods."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest
from aiohttp import web

from podling.core.errors import PodlingError
from podling.core.logrecord import LogRecord, Stream, encode
from podling.core.spec import RetryPolicy
from podling.kit.clock import SystemClock
from podling.master.alerts.command import CommandSender
from podling.master.alerts.delivery import Target, Unreachable
from podling.master.alerts.mail import MailSender, MailServer
from podling.master.context import AlertOptions
from podling.store.base import LogTail
from tests.certificates import TestAuthority
from tests.master.alert_contents import content
from tests.master.fake_worker import FakeWorker
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster, eventually
from tests.master.receivers import MailReceiver, WebReceiver, certificate, mail_receiver, tls_of, web_receiver

SOON = RetryPolicy(base_seconds=0.02, factor=1, max_seconds=0.02, jitter=0)


def options(**more: Any) -> AlertOptions:
    return AlertOptions(**({"hosts": ("127.0.0.1",), "retry": SOON, "most_tries": 4} | more))


@pytest.fixture
async def receiver() -> AsyncIterator[WebReceiver]:
    async with web_receiver() as found:
        yield found


@pytest.fixture
async def mailbox() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as found:
        yield found


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    return await masters.start(alerts=options())


async def make(master: RunningMaster, name: str, **rule: Any) -> dict[str, Any]:
    answer = await master.api.put(f"/alerts/{name}", rule)
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def fail(master: RunningMaster, worker: FakeWorker, attempt: int = 1, **fields: Any) -> str:
    task_id = str((await master.api.submit(**fields))["taskId"])
    work = await worker.assigned(task_id, attempt)
    await worker.end(work, 1, error="it broke")
    return task_id


async def told(master: RunningMaster, task_id: str, type_: str) -> list[dict[str, Any]]:
    """Wait for lines of this type in the timeline."""

    async def find() -> list[dict[str, Any]]:
        lines = (await master.api.get(f"/tasks/{task_id}/timeline")).json
        return [line for line in lines if line["type"] == type_]

    return list(await eventually(find, f"a line {type_} of {task_id}"))


async def nothing_waits(master: RunningMaster, name: str) -> dict[str, Any]:
    async def find() -> dict[str, Any] | None:
        rule = (await master.api.get(f"/alerts/{name}")).json
        return rule if rule["pending"] == 0 and rule["lastAt"] else None

    return dict(await eventually(find, f"the end of what {name} has to send"))


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
        master = await masters.start(alerts=options(mail=_server(mailbox)))
        wishes = [{"on": ["completed"], "http": receiver.url}, "mailto:me@example.org", receiver.url]
        task = await master.api.submit(alerts=wishes)
        assert task["alerts"] == [
            {"rule": None, "on": ["completed"], "http": receiver.url, "mail": []},
            {"rule": None, "on": [], "http": None, "mail": ["me@example.org"]},
            {"rule": None, "on": [], "http": receiver.url, "mail": []},
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


def _server(mailbox: MailReceiver, **more: Any) -> MailServer:
    fields = {"host": "127.0.0.1", "port": mailbox.port, "encrypted": False, "sender": "podling@example.org"}
    return MailServer(**(fields | {"is_local": True} | more))


async def test_mail_tells_why_and_the_end_of_the_log(masters: Masters, mailbox: MailReceiver) -> None:
    mailbox.accounts = {"podling": "hunter22"}
    mail_server = _server(mailbox, user="podling", password="hunter22")
    master = await masters.start(alerts=options(mail=mail_server))
    await make(master, "ops", mail=["me@example.org", "you@example.org"])
    worker = await master.worker("one")
    task_id = str((await master.api.submit(name="nightly"))["taskId"])
    work = await worker.assigned(task_id)
    await _save_log(master, work.task_id, "one line\n.\nlast words\n")
    await worker.end(work, 1)
    (mail,) = await mailbox.mails.until(1)
    assert mail.sender == "podling@example.org"
    assert mail.recipients == ("me@example.org", "you@example.org")
    assert mail.message["Subject"] == "podling: nightly failed on one.test: exit code 1"
    assert re.fullmatch(r"<msg_[0-9a-f]{32}@podling>", mail.message["Message-ID"])
    assert mail.message.get_content_type() == "text/plain"
    text = mail.message.get_content()
    explained = (await master.api.get(f"/tasks/{task_id}/explain")).json["summary"]
    assert text.startswith(explained)
    assert "one line\n.\nlast words\n" in text.replace("\r\n", "\n")
    assert mailbox.logged_in == ["podling"]
    (line,) = await told(master, task_id, "alert_sent")
    assert line["message"] == "alert ops about failed was sent: taken"


async def _save_log(master: RunningMaster, task_id: str, text: str) -> None:
    record = LogRecord(at=master.server.context.clock.now(), stream=Stream.STDOUT, data=text.encode())
    tail = LogTail(task_id=task_id, attempt=1, frames=encode([record]), final=True)
    await master.server.context.store.save_tails([tail])


async def test_no_name_writes_a_header(masters: Masters, mailbox: MailReceiver) -> None:
    master = await masters.start(alerts=options(mail=_server(mailbox)))
    await make(master, "ops", mail=["me@example.org"])
    worker = await master.worker("one", hostname="one.test")
    task_id = str((await master.api.submit(name="ünïcode " + "x" * 200))["taskId"])
    await worker.end(await worker.assigned(task_id), None, error_code="A\r\nBcc: thief@example.org")
    (mail,) = await mailbox.mails.until(1)
    assert mail.recipients == ("me@example.org",)
    assert mail.message["Bcc"] is None
    assert "ünïcode" in mail.message["Subject"]


async def test_a_recipient_that_is_refused_for_good_is_not_tried_again(
    masters: Masters, mailbox: MailReceiver
) -> None:
    mailbox.refuse["nobody@example.org"] = "550 no such mailbox"
    master = await masters.start(alerts=options(mail=_server(mailbox)))
    await make(master, "ops", mail=["nobody@example.org"])
    task_id = await fail(master, await master.worker())
    (line,) = await told(master, task_id, "alert_failed")
    assert "after 1 tries" in line["message"] and "550 no such mailbox" in line["message"]


async def test_no_password_is_sent_in_clear(masters: Masters, mailbox: MailReceiver) -> None:
    mailbox.accounts = {"podling": "hunter22"}
    far = _server(mailbox, user="podling", password="hunter22", is_local=False)
    master = await masters.start(alerts=options(mail=far))
    await make(master, "ops", mail=["me@example.org"])
    tried = (await master.api.post("/alerts/ops/test")).json
    assert tried["delivered"] is False and "offers no TLS" in tried["answer"]
    assert not mailbox.logged_in


async def test_one_refused_recipient_keeps_it_from_nobody_else(
    masters: Masters, mailbox: MailReceiver
) -> None:
    mailbox.refuse["nobody@example.org"] = "550 no such mailbox"
    master = await masters.start(alerts=options(mail=_server(mailbox)))
    await make(master, "ops", mail=["me@example.org", "nobody@example.org"])
    task_id = await fail(master, await master.worker())
    (line,) = await told(master, task_id, "alert_sent")
    assert line["message"].endswith("taken; but not for nobody@example.org")
    assert [mail.recipients for mail in mailbox.mails.items] == [("me@example.org",)]


async def test_mail_goes_by_tls_to_whom_it_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate(tmp_path)
    async with mail_receiver(tls_of(path)) as mailbox:
        mailbox.accounts = {"podling": "hunter22"}
        far = _server(mailbox, encrypted=True, is_local=False, user="podling", password="hunter22")
        target = Target(mail=("me@example.org",))
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            await MailSender(far, SystemClock()).send(target, content())
        assert not mailbox.logged_in
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert await MailSender(far, SystemClock()).send(target, content()) == "taken"
        assert mailbox.logged_in == ["podling"]


async def test_mail_is_encrypted_by_starttls_where_it_is_offered(
    mailbox: MailReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = TestAuthority(tmp_path)
    own = authority.sign("mail", "127.0.0.1")
    mailbox.upgrade = SSLContext(PROTOCOL_TLS_SERVER)
    mailbox.upgrade.load_cert_chain(own.certificate, own.key)
    mailbox.accounts = {"podling": "hunter22"}
    far = _server(mailbox, is_local=False, user="podling", password="hunter22")
    target = Target(mail=("me@example.org",))
    with pytest.raises(Unreachable, match=r"(?i)certificate"):
        await MailSender(far, SystemClock()).send(target, content())
    assert not mailbox.logged_in and not mailbox.mails.items
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    assert await MailSender(far, SystemClock()).send(target, content()) == "taken"
    assert mailbox.logged_in == ["podling"]
    assert [mail.recipients for mail in await mailbox.mails.until(1)] == [("me@example.org",)]


async def test_a_command_reads_what_happened(masters: Masters, tmp_path: Any) -> None:
    out = tmp_path / "read"
    script = f'cat >{out}; env >>{out}; echo paged "$1"; exit 0'
    commands = {"page": ("/bin/sh", "-c", script, "page", "$HOME; them")}
    master = await masters.start(alerts=options(commands=commands))
    await make(master, "ops", command="page")
    task_id = await fail(master, await master.worker(), name="nightly")
    (line,) = await told(master, task_id, "alert_sent")
    assert line["message"] == "alert ops about failed was sent: exit code 0: paged $HOME; them"
    written = out.read_text()
    assert f'"taskId":"{task_id}"' in written
    assert f"PODLING_ALERT_TASK_ID={task_id}\n" in written
    assert "PYTEST_CURRENT_TEST" not in written  # the master's own environment stays with it


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo broken >&2; exit 3", "exit code 3: broken"),
        ("sleep 60 & echo started", "exit code 0: started"),
        ("yes", "did not end within 0.3 s, and was killed"),
    ],
)
async def test_a_command_is_bounded(script: str, told: str) -> None:
    sender = CommandSender({"it": ("/bin/sh", "-c", script)}, seconds=0.3 if script == "yes" else 10.0)
    try:
        said = await sender.send(Target(command="it"), content())
    except PodlingError as error:
        said = error.message
    assert told in said


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
