"""Sends alerts: finds out where each goes, and what there is to say about it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from podling.core.alert_message import Message, body_of, message_of, text_of
from podling.core.alert_policy import AlertPermissions, may_be_called, may_be_written_to
from podling.core.alerts import Alert, AlertEvent, AlertRule, Facts, others, web_receiver
from podling.core.explain import explain
from podling.core.spec import AlertWish
from podling.master.alerts.command import CommandSender
from podling.master.alerts.delivery import Content, Refused, Sender, Target
from podling.master.alerts.mail import MailSender
from podling.master.alerts.web_hook import WebHookSender
from podling.master.context import MasterContext
from podling.wire.codec import encode

LogEnd = Callable[[str, int, int], Awaitable[str]]

LOG_LINES = 40
MOST_AT_ONCE = 16
MOST_SIGNATURES = 20  # of one call: about a kilobyte

_SAMPLE = Facts(
    task_id="sample",
    name="sample",
    queue="default",
    status="failed",
    attempt=1,
    node_id="node-1",
    host="host-1",
    exit_code=1,
    error_code="EXIT_CODE",
    error="this is a test: nothing has failed",
)


class AlertOffice:
    """One per master; any master can send a test, only the leader sends what is due.

    `log_end` gives, of a task's attempt, so many last lines of its output.
    """

    def __init__(self, context: MasterContext, log_end: LogEnd) -> None:
        options = context.options.alerts
        self._context = context
        self._log_end = log_end
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._web = WebHookSender(options.hosts, context.clock)
        self._commands = CommandSender(options.commands)
        self._mail = None if options.mail is None else MailSender(options.mail, context.clock)

    async def send(self, alerts: Sequence[Alert]) -> str:
        """Send one message about alerts of one line; return what the receiver said.

        Raises Unreachable, Refused, StoreUnavailable.
        """
        target = await self._target(alerts)
        content = await self._content(message_of(alerts), target)
        async with self._room:
            return await self._sender(target).send(target, content)

    async def test(self, rule: AlertRule) -> str:
        """Send a sample to where the rule leads. Raises Unreachable, Refused."""
        now = self._context.clock.now()
        sample = Alert(
            alert_id=f"msg_{self._context.new_id()}",
            line=rule.name,
            rule=rule.name,
            event=AlertEvent.FAILED,
            at=now,
            facts=_SAMPLE,
        )
        message = message_of([sample])
        target = _target_of(rule)
        content = Content(message=message, body=self._body(message), text=text_of(message, "", ""))
        async with self._room:
            return await self._sender(target).send(target, content)

    async def close(self) -> None:
        """Look up no names any more."""
        await self._web.close()

    async def _target(self, alerts: Sequence[Alert]) -> Target:
        alert = alerts[0]
        if alert.wish is not None:
            return _target_of_wish(alert.wish, self._context.options.alerts.permissions())
        known = [await self._rule(name) for name in _rules_of(alerts)]
        rules = [rule for rule in known if rule is not None]
        if not rules:
            raise Refused(f"there is no alert rule {alert.rule} any more", final=True)
        if rules[0].mail:
            return Target(mail=_untold(rules[0], alerts))
        return _target_of(*rules)

    async def _rule(self, name: str) -> AlertRule | None:
        book = self._context.alerts
        if name not in book.rules:
            await book.learn()  # another master may have made it just now
        return book.rules.get(name)

    def _sender(self, target: Target) -> Sender:
        if target.http is not None:
            return self._web
        if target.command is not None:
            return self._commands
        if self._mail is None:
            raise Refused("this master sends no mail: start it with --smtp-url and --mail-from")
        return self._mail

    def _body(self, message: Message) -> bytes:
        return encode(body_of(message, self._context.cluster_id))

    async def _content(self, message: Message, target: Target) -> Content:
        """Look up for a mail what it takes to understand it; the others get what happened, and no more."""
        summary = log = ""
        facts = message.first.facts
        if target.mail and facts.task_id is not None:
            summary = await self._summary(facts.task_id)
            log = await self._log_end(facts.task_id, facts.attempt, LOG_LINES) if facts.attempt else ""
        return Content(message=message, body=self._body(message), text=text_of(message, summary, log))

    async def _summary(self, task_id: str) -> str:
        context = self._context
        task = (await context.store.load_tasks([task_id])).get(task_id)
        if task is None:
            return ""
        attempts = await context.store.load_attempts(task_id)
        now, monotonic = context.clock.now(), context.clock.monotonic()
        return explain(task, attempts, context.view, 0, now, monotonic).summary


def _target_of(rule: AlertRule, *also: AlertRule) -> Target:
    """Where the rule leads; it is signed for all rules that lead there, as far as a header has room."""
    if rule.http is None:
        return Target(mail=rule.mail, command=rule.command)
    place = web_receiver(rule.http)
    same = [other for other in also if other.http is not None and web_receiver(other.http) == place]
    secrets = dict.fromkeys(each.secret for each in (rule, *same) if each.secret is not None)
    return Target(http=rule.http, secrets=tuple(secrets)[:MOST_SIGNATURES])


def _target_of_wish(wish: AlertWish, allowed: AlertPermissions) -> Target:
    """Raises Refused for what was listed when the task was submitted, and is no more."""
    if not wish.listed_only:
        return Target(http=wish.http, mail=wish.mail)
    if wish.http is not None and not may_be_called(wish.http, allowed):
        raise Refused("its host is not listed by the operator's --alert-hosts any more", final=True)
    listed = tuple(address for address in wish.mail if may_be_written_to(address, allowed))
    if wish.mail and not listed:
        raise Refused("nobody of them is listed by the operator's --alert-mail any more", final=True)
    return Target(http=wish.http, mail=listed)


def _rules_of(alerts: Sequence[Alert]) -> Iterable[str]:
    """Name the rule that tells of them, and those for which it does."""
    return dict.fromkeys([alerts[0].rule or "", *(name for alert in alerts for name in alert.also)])


def _untold(rule: AlertRule, alerts: Sequence[Alert]) -> tuple[str, ...]:
    """Whom the rule has still to tell of any of these. Raises Refused."""
    told = set.intersection(*(set(alert.without) for alert in alerts))
    left = others(rule.mail, told)
    if not left:
        raise Refused(f"whom the alert rule {rule.name} names now was told by another", final=True)
    return left
