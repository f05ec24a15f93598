"""Whoever is told of an event is told once, however many rules and wishes lead to them."""

from datetime import timedelta

from aiohttp import web

from podling.core.spec import RetryPolicy
from podling.master.alerts.office import MOST_SIGNATURES
from tests.master.alerting import fail, mail_server_of, make, options, told
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.receivers import mail_receiver, web_receiver

LATER = RetryPolicy(base_seconds=0.5, factor=1, max_seconds=0.5, jitter=0)


async def _all_is_sent(master: RunningMaster) -> None:
    context = master.server.context

    async def nothing_waits() -> bool:
        return not await context.store.alerts.due(context.clock.now() + timedelta(days=1), 10)

    await eventually(nothing_waits, "the end of what there is to send")


async def test_one_mail_to_each_of_a_rule_and_a_tasks_own_wish(masters: Masters) -> None:
    async with mail_receiver() as mailbox:
        master = await masters.start(alerts=options(mail=mail_server_of(mailbox)))
        await make(master, "ml", mail=["me@example.org"])
        await make(master, "ops", mail=["Me@Example.org", "ops@example.org"])
        wishes = ["mailto:me@example.org", "mailto:ops@example.org,you@example.org"]
        task_id = await fail(master, await master.worker(), alerts=wishes)
        await told(master, task_id, "alert_sent")
        await _all_is_sent(master)
        recipients = sorted(mail.recipients for mail in mailbox.mails.items)
        assert recipients == [("me@example.org",), ("ops@example.org",), ("you@example.org",)]


async def test_one_call_that_is_signed_for_both_rules(masters: Masters) -> None:
    async with web_receiver() as receiver:
        master = await masters.start(alerts=options())
        first = await make(master, "first", http=receiver.url)
        second = await make(master, "second", http=receiver.url)
        task_id = await fail(master, await master.worker(), alerts=[receiver.url])
        await told(master, task_id, "alert_sent")
        await _all_is_sent(master)
        (call,) = receiver.calls.items
        assert call.is_signed_with(first["secret"]) and call.is_signed_with(second["secret"])


async def test_who_is_told_by_a_rule_that_is_gone_is_told_by_the_next(masters: Masters) -> None:
    async with web_receiver() as receiver:
        receiver.answer = lambda count: web.Response(status=503 if count == 0 else 200)
        master = await masters.start(alerts=options(retry=LATER))
        await make(master, "first", http=receiver.url)
        second = await make(master, "second", http=receiver.url)
        task_id = await fail(master, await master.worker())
        await receiver.calls.until(1)
        assert (await master.api.delete("/alerts/first")).status == 200
        await told(master, task_id, "alert_sent")
        _, call = receiver.calls.items
        assert call.is_signed_with(second["secret"])


async def test_the_signatures_of_one_call_fit_into_a_header(masters: Masters) -> None:
    async with web_receiver() as receiver:
        master = await masters.start(alerts=options())
        made = [
            await make(master, f"rule-{number:02}", http=receiver.url)
            for number in range(MOST_SIGNATURES + 5)
        ]
        task_id = await fail(master, await master.worker())
        await told(master, task_id, "alert_sent")
        await _all_is_sent(master)
        (call,) = receiver.calls.items
        assert all(call.is_signed_with(rule["secret"]) for rule in made[:MOST_SIGNATURES])
        assert len(call.headers["webhook-signature"]) < 1024
