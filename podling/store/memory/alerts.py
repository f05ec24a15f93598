"""Rules of alerts, and notifications on their way."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from podling.core.alerts import Alert, AlertRule
from podling.core.task import TaskEvent
from podling.store.ports.alerts import Alerts, Settlement, Standing


class AlertTable(Alerts):
    """See the port."""

    def __init__(
        self,
        check_epoch: Callable[[int], None],
        add_events: Callable[[Iterable[TaskEvent]], None],
        call: Callable[[], None],
    ) -> None:
        self._check_epoch = check_epoch
        self._add_events = add_events
        self._call = call
        self._rules: dict[str, AlertRule] = {}
        self._standings: dict[str, Standing] = {}
        self._waiting: dict[str, tuple[datetime, Alert]] = {}

    async def save_rule(self, rule: AlertRule) -> bool:
        is_new = rule.name not in self._rules
        self._rules[rule.name] = rule
        self._call()
        return is_new

    async def remove_rule(self, name: str) -> bool:
        self._standings.pop(name, None)
        removed = self._rules.pop(name, None) is not None
        self._call()
        return removed

    async def load_rules(self) -> Sequence[AlertRule]:
        return [self._rules[name] for name in sorted(self._rules)]

    async def standings(self) -> Mapping[str, Standing]:
        pending = Counter(alert.line for _, alert in self._waiting.values())
        return {
            name: replace(self._standings.get(name, Standing()), pending=pending[name])
            for name in self._rules
        }

    def put(self, alerts: Iterable[Alert]) -> None:
        """Keep the alerts of a commit."""
        for alert in alerts:
            self._waiting.setdefault(alert.alert_id, (alert.at, alert))

    async def add(self, alerts: Sequence[Alert], epoch: int) -> None:
        self._check_epoch(epoch)
        self.put(alerts)

    async def due(self, now: datetime, limit: int, skip_lines: Sequence[str] = ()) -> Sequence[Alert]:
        rows = sorted(
            (due_at, alert_id)
            for alert_id, (due_at, alert) in self._waiting.items()
            if due_at <= now and alert.line not in skip_lines
        )
        return [self._waiting[alert_id][1] for _, alert_id in rows[:limit]]

    async def settle(self, settlements: Sequence[Settlement], epoch: int) -> None:
        self._check_epoch(epoch)
        for settlement in settlements:
            if (waiting := self._waiting.pop(settlement.alert.alert_id, None)) is not None:
                self._settle(waiting[1], settlement)

    def _settle(self, alert: Alert, settlement: Settlement) -> None:
        if settlement.due_at is not None:
            again = replace(alert, tries=alert.tries + 1)
            self._waiting[alert.alert_id] = (settlement.due_at, again)
        if settlement.event is not None:
            self._add_events([settlement.event])
        if alert.rule in self._rules:
            self._standings[alert.rule] = Standing(last_at=settlement.at, error=settlement.error)
