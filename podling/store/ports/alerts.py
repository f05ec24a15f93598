"""The port for alerts: the rules, and notifications on their way. See `podling.store.base`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from podling.core.alerts import Alert, AlertRule
from podling.core.task import TaskEvent
from podling.core.value import value


@value
class Standing:
    """How a rule fares: what became of its last try, and how many alerts wait. `error` None is well."""

    pending: int = 0
    last_at: datetime | None = None
    error: str | None = None


@value
class Settlement:
    """What became of one try at an alert: over (`due_at` None), or tried again from then on.

    `event` is a line of its task's timeline.
    """

    alert: Alert
    at: datetime
    due_at: datetime | None = None
    error: str | None = None
    event: TaskEvent | None = None


class Alerts(Protocol):
    """A part of `Store`. Alerts about tasks come with the batch that changes the task, and stay until
    they are settled."""

    async def save_rule(self, rule: AlertRule) -> bool:
        """Insert or replace the rule of this name; return whether it is new."""

    async def remove_rule(self, name: str) -> bool: ...

    async def load_rules(self) -> Sequence[AlertRule]:
        """Return the rules in the order of their names."""

    async def standings(self) -> Mapping[str, Standing]:
        """Return how each rule fares, by name."""

    async def add(self, alerts: Sequence[Alert], epoch: int) -> None:
        """Keep alerts that come with no task's change; those that are there already stay as they are."""

    async def due(self, now: datetime, limit: int, skip_lines: Sequence[str] = ()) -> Sequence[Alert]:
        """Return alerts to be sent, the longest due first, by (due_at, alert_id)."""

    async def settle(self, settlements: Sequence[Settlement], epoch: int) -> None:
        """Take off, or put off, each alert that is still there, with its line of the timeline."""
