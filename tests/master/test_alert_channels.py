"""Mail and commands: what they carry, to whom, and what they refuse."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest

from podling.core.errors import PodlingError
from podling.core.logrecord import LogRecord, Stream, encode
from podling.kit.clock import SystemClock
from podling.master.alerts.command import CommandSender
from podling.master.alerts.delivery import Target, Unreachable
from podling.master.alerts.mail import MailSender
from podling.store.base import LogTail
from tests.certificates import TestAuthority
from tests.master.alert_contents import content
from tests.master.alerting import fail, mail_server_of, make, options, told
from tests.master.masters import Masters, RunningMaster
from tests.master.receivers import MailReceiver, certificate, mail_receiver, tls_of


@pytest.fixture
async def mailbox() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as found:
        yield found


async def test_mail_tells_why_and_the_end_of_the_log(masters: Masters, mailbox: MailReceiver) -> None:
    mailbox.accounts = {"podling": "hunter22"}
    mail_server = mail_server_of(mailbox, user="podling", password="hunter22")
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
    master = await masters.start(alerts=options(mail=mail_server_of(mailbox)))
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
    master = await masters.start(alerts=options(mail=mail_server_of(mailbox)))
    await make(master, "ops", mail=["nobody@example.org"])
    task_id = await fail(master, await master.worker())
    (line,) = await told(master, task_id, "alert_failed")
    assert "after 1 tries" in line["message"] and "550 no such mailbox" in line["message"]


async def test_no_password_is_sent_in_clear(masters: Masters, mailbox: MailReceiver) -> None:
    mailbox.accounts = {"podling": "hunter22"}
    far = mail_server_of(mailbox, user="podling", password="hunter22", is_local=False)
    master = await masters.start(alerts=options(mail=far))
    await make(master, "ops", mail=["me@example.org"])
    tried = (await master.api.post("/alerts/ops/test")).json
    assert tried["delivered"] is False and "offers no TLS" in tried["answer"]
    assert not mailbox.logged_in


async def test_one_refused_recipient_keeps_it_from_nobody_else(
    masters: Masters, mailbox: MailReceiver
) -> None:
    mailbox.refuse["nobody@example.org"] = "550 no such mailbox"
    master = await masters.start(alerts=options(mail=mail_server_of(mailbox)))
    await make(master, "ops", mail=["me@example.org", "nobody@example.org"])
    task_id = await fail(master, await master.worker())
    (line,) = await told(master, task_id, "alert_sent")
    assert line["message"].endswith("taken; but not for nobody@example.org")
    assert [mail.recipients for mail in mailbox.mails.items] == [("me@example.org",)]


async def test_mail_goes_by_tls_to_whom_it_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate(tmp_path)
    async with mail_receiver(tls_of(path)) as mailbox:
        mailbox.accounts = {"podling": "hunter22"}
        far = mail_server_of(mailbox, encrypted=True, is_local=False, user="podling", password="hunter22")
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
    far = mail_server_of(mailbox, is_local=False, user="podling", password="hunter22")
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
