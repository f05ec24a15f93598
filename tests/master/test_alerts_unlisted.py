"""What was listed when a task was submitted, and is no more when something is to be sent."""

from podling.core.access import Principal, Role
from podling.core.spec import AlertWish
from podling.master.operations.admission import Entry
from podling.master.operations.tasks import submit
from tests.builders import build_spec
from tests.master.alerting import mail_server_of, options, told
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster
from tests.master.receivers import mail_receiver, web_receiver


async def _submit(master: RunningMaster, role: Role, *wishes: AlertWish, key: str | None = None) -> str:
    entry = Entry(actor=Principal(name=role.value, roles=frozenset({role})))
    spec = build_spec(alerts=wishes, idempotency_key=key)
    task, _ = await submit(master.server.context, spec, entry)
    return task.task_id


async def test_who_was_taken_off_the_list_is_not_told(masters: Masters) -> None:
    async with web_receiver() as receiver, mail_receiver() as mailbox:
        mail = mail_server_of(mailbox)
        lists = options(mail=mail, recipients=("*@example.org",))
        first = await masters.start("one", alerts=lists, lease_seconds=SHORT_LEASE_SECONDS)
        hook = AlertWish(http=receiver.url)
        wishes = [
            hook,
            *(AlertWish(mail=mail) for mail in (("me@example.org",), ("me@example.org", "you@example.org"))),
        ]
        task_ids = [await _submit(first, Role.SUBMITTER, wish) for wish in wishes]
        operators = await _submit(first, Role.OPERATOR, AlertWish(mail=("me@example.org",)))
        assert (await first.api.task(task_ids[0]))["alerts"][0]["listedOnly"] is True
        await first.stop()
        lists = options(mail=mail, hosts=("other.example.org",), recipients=("you@example.org",))
        second = await masters.start("two", alerts=lists, lease_seconds=SHORT_LEASE_SECONDS)
        worker = await second.worker(slots=10)
        for task_id in (*task_ids, operators):
            await worker.end(await worker.assigned(task_id), 1)
        (line,) = await told(second, task_ids[0], "alert_failed")
        assert "its host is not listed by the operator's --alert-hosts any more" in line["message"]
        (line,) = await told(second, task_ids[1], "alert_failed")
        assert "--alert-mail any more" in line["message"]
        for task_id in (task_ids[2], operators):
            await told(second, task_id, "alert_sent")
        assert sorted(mail.recipients for mail in mailbox.mails.items) == [
            ("me@example.org",),
            ("you@example.org",),
        ]
        assert not receiver.calls.items


async def test_the_same_key_is_the_same_task_whoever_repeats_it(masters: Masters) -> None:
    master = await masters.start(alerts=options())
    wish = AlertWish(http="http://127.0.0.1:1/")
    first = await _submit(master, Role.SUBMITTER, wish, key="once")
    assert await _submit(master, Role.OPERATOR, wish, key="once") == first


async def test_nobody_says_it_of_themselves(masters: Masters) -> None:
    master = await masters.start(alerts=options())
    forged = AlertWish(http="http://127.0.0.1:1/", listed_only=False)
    task_id = await _submit(master, Role.SUBMITTER, forged)
    assert (await master.api.task(task_id))["alerts"][0]["listedOnly"] is True
