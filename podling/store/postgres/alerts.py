"""Rules of alerts, and notifications on their way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from podling.core.alerts import Alert, AlertRule
from podling.store.ports.alerts import Alerts, Settlement, Standing
from podling.store.postgres.errors import translated
from podling.store.postgres.hints import Notifier
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import Row, event_row, from_json, to_json

_SQL = load("alerts")


class AlertTables(Alerts):
    """See the port."""

    def __init__(self, pool: Pool, guard: LeaderGuard, notifier: Notifier) -> None:
        self._pool = pool
        self._guard = guard
        self._notifier = notifier

    async def save_rule(self, rule: AlertRule) -> bool:
        row = await self._pool.fetch_row(_SQL.save_rule, rule.name, to_json(rule))
        assert row is not None
        self._notifier.call()
        return bool(row["is_new"])

    async def remove_rule(self, name: str) -> bool:
        removed = await self._pool.fetch_row(_SQL.remove_rule, name) is not None
        self._notifier.call()
        return removed

    async def load_rules(self) -> Sequence[AlertRule]:
        return [from_json(AlertRule, row["body"]) for row in await self._pool.fetch(_SQL.rules)]

    async def standings(self) -> Mapping[str, Standing]:
        return {
            row["name"]: Standing(pending=row["pending"], last_at=row["last_at"], error=row["last_error"])
            for row in await self._pool.fetch(_SQL.standings)
        }

    async def add(self, alerts: Sequence[Alert], epoch: int) -> None:
        await self._as_leader(epoch, _SQL.insert, to_json(alert_rows(alerts)))

    async def due(self, now: datetime, limit: int, skip_lines: Sequence[str] = ()) -> Sequence[Alert]:
        rows = await self._pool.fetch(_SQL.due, now, limit, list(skip_lines))
        return [replace(from_json(Alert, row["body"]), tries=row["tries"]) for row in rows]

    async def settle(self, settlements: Sequence[Settlement], epoch: int) -> None:
        rows = [_settlement_row(settlement) for settlement in settlements]
        rows.sort(key=lambda row: str(row["alert_id"]))
        await self._as_leader(epoch, _SQL.settle, to_json(rows))

    async def _as_leader(self, epoch: int, sql: str, *arguments: Any) -> None:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                await connection.execute(sql, *arguments)


async def insert(connection: Connection, alerts: Sequence[Alert]) -> None:
    """Keep the alerts of a commit, in its transaction."""
    await connection.execute(_SQL.insert, to_json(alert_rows(alerts)))


def alert_rows(alerts: Sequence[Alert]) -> list[Row]:
    """Return rows of `alerts` in the order in which they are locked."""
    rows: list[Row] = [
        {"alert_id": alert.alert_id, "line": alert.line, "due_at": alert.at, "body": alert}
        for alert in alerts
    ]
    return sorted(rows, key=lambda row: str(row["alert_id"]))


def _settlement_row(settlement: Settlement) -> Row:
    event = None if settlement.event is None else event_row(settlement.event)
    return {
        "alert_id": settlement.alert.alert_id,
        "rule": settlement.alert.rule,
        "at": settlement.at,
        "due_at": settlement.due_at,
        "error": settlement.error,
        "task_id": None if event is None else event["task_id"],
        "type": None if event is None else event["type"],
        "event": None if event is None else event["body"],
    }
