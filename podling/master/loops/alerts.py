"""Sends what is due of alerts, and keeps what became of each try."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from podling.core.alert_policy import shown_url
from podling.core.alerts import MOST_PER_MINUTE, Alert
from podling.core.errors import PodlingError
from podling.core.retry import backoff_seconds
from podling.core.task import TaskEvent
from podling.core.transition import Actor
from podling.master.alerts.delivery import Refused, Unreachable
from podling.master.alerts.office import AlertOffice
from podling.master.context import MasterContext
from podling.store.ports.alerts import Settlement

_log = logging.getLogger(__name__)

PAGE = 1000  # as many alerts one message stands for at most
PASS_SECONDS = 1.0  # a line that is slower goes on beside the next passes
WINDOW_SECONDS = 60.0


class AlertLoop:
    """What leads to one place is a line, and lines do not wait for each other.

    A message is sent before that is written down: a crash in between sends it again, under its id.
    """

    def __init__(self, context: MasterContext, office: AlertOffice, page: int = PAGE) -> None:
        self._context = context
        self._office = office
        self._page = page
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._paces: dict[str, _Pace] = {}

    async def run_once(self) -> float | None:
        if (epoch := self._context.epoch) is None:
            self._paces.clear()
            return None
        now = self._context.clock.monotonic()
        self._paces = {line: pace for line, pace in self._paces.items() if pace.is_used(now)}
        waiting = [line for line, pace in self._paces.items() if not pace.room(now)]
        skip = sorted({*self._busy, *waiting})
        found = await self._context.store.alerts.due(self._context.clock.now(), self._page, skip)
        started = [self._start(line, alerts, epoch) for line, alerts in _by_line(found).items()]
        if started:
            await asyncio.wait(started, timeout=PASS_SECONDS)
        return 0.0 if len(found) == self._page else None

    async def close(self) -> None:
        """Leave what is being sent; the next leader sends it again."""
        for running in self._busy.values():
            running.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _start(self, line: str, alerts: Sequence[Alert], epoch: int) -> asyncio.Task[None]:
        working = asyncio.create_task(self._work_off(line, alerts, epoch))
        self._busy[line] = working
        working.add_done_callback(lambda _: self._busy.pop(line, None))
        return working

    async def _work_off(self, line: str, alerts: Sequence[Alert], epoch: int) -> None:
        """Send a line's alerts until its pace is reached, or nobody is there to take them."""
        pace = self._paces.setdefault(line, _Pace())
        pace.most = self._most_per_minute(alerts[0])
        left = deque(alerts)
        try:
            while left and (room := pace.room(self._context.clock.monotonic())):
                # The last message before the pace is reached stands for all that are left.
                joined = [left.popleft() for _ in range(1 if room > 1 else len(left))]
                pace.count(self._context.clock.monotonic())
                await self._send(joined, left, epoch)
        except PodlingError as error:
            _log.warning("alerts: %s", error.message)  # the store is away: all of it is sent again

    async def _send(self, joined: Sequence[Alert], left: deque[Alert], epoch: int) -> None:
        try:
            answer = await self._office.send(joined)
        except Unreachable as failure:
            await self._settle([self._failed(alert, failure.message) for alert in (*joined, *left)], epoch)
            left.clear()
        except Refused as refusal:
            failed = [self._failed(alert, refusal.message, final=refusal.final) for alert in joined]
            await self._settle(failed, epoch)
        except PodlingError:
            raise
        except Exception:  # noqa: BLE001 - a bug, which must not have it sent again and again
            _log.exception("%s could not be sent", _name(joined[0]))
            reason = "the master failed on it; its log says why"
            await self._settle([self._failed(alert, reason) for alert in joined], epoch)
        else:
            await self._settle([self._sent(alert, answer, len(joined)) for alert in joined], epoch)

    async def _settle(self, settlements: Sequence[Settlement], epoch: int) -> None:
        await self._context.store.alerts.settle(settlements, epoch)

    def _sent(self, alert: Alert, answer: str, together: int) -> Settlement:
        joined = f", in one message with {together - 1} others" if together > 1 else ""
        event = self._event(
            alert, "alert_sent", f"{_name(alert)} about {alert.event} was sent{joined}: {answer}"
        )
        return Settlement(alert=alert, at=self._context.clock.now(), event=event)

    def _failed(self, alert: Alert, reason: str, *, final: bool = False) -> Settlement:
        now, options = self._context.clock.now(), self._context.options.alerts
        tries = alert.tries + 1
        if not final and tries < options.most_tries:
            wait = backoff_seconds(options.retry, tries, self._context.draw())
            due_at = now + timedelta(seconds=wait)
            return Settlement(alert=alert, at=now, due_at=due_at, error=reason)
        _log.warning("%s was given up after %d tries: %s", _name(alert), tries, reason)
        told = f"{_name(alert)} about {alert.event} was given up after {tries} tries: {reason}"
        event = self._event(alert, "alert_failed", told)
        return Settlement(alert=alert, at=now, error=reason, event=event)

    def _event(self, alert: Alert, type_: str, message: str) -> TaskEvent | None:
        if alert.facts.task_id is None:
            return None
        return TaskEvent(
            task_id=alert.facts.task_id,
            at=self._context.clock.now(),
            type=type_,
            actor=str(Actor.LEADER),
            message=message,
            attempt=alert.facts.attempt or None,
            details={"event": str(alert.event), "rule": alert.rule, "alertId": alert.alert_id},
        )

    def _most_per_minute(self, alert: Alert) -> int:
        rule = self._context.alerts.rules.get(alert.rule or "")
        return MOST_PER_MINUTE if rule is None else rule.max_per_minute


class _Pace:
    """How many messages a line may still send within this minute, by this master's own clock."""

    def __init__(self) -> None:
        self.most = MOST_PER_MINUTE
        self._sent: deque[float] = deque()

    def count(self, now: float) -> None:
        self._sent.append(now)

    def room(self, now: float) -> int:
        while self._sent and self._sent[0] <= now - WINDOW_SECONDS:
            self._sent.popleft()
        return self.most - len(self._sent)

    def is_used(self, now: float) -> bool:
        return self.room(now) < self.most


def _by_line(alerts: Sequence[Alert]) -> Mapping[str, Sequence[Alert]]:
    lines: dict[str, list[Alert]] = {}
    for alert in alerts:
        lines.setdefault(alert.line, []).append(alert)
    return lines


def _name(alert: Alert) -> str:
    """Name a rule; of a task's own wish no more of a URL than its host, for the rest may be a secret."""
    if alert.wish is None:
        return f"alert {alert.rule}"
    return f"alert to {shown_url(alert.wish.http) if alert.wish.http else ', '.join(alert.wish.mail)}"
