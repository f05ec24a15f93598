"""The rules of alerts as this master knows them: what a change of a task makes somebody be told."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from podling.core.alerts import Alert, AlertRule, alerts_about, node_alerts
from podling.core.node import Node
from podling.core.task import Task
from podling.core.transition import Transition
from podling.core.view import View
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied
from podling.master.feed import Feed
from podling.store.base import Store


class AlertBook:
    """`wakeup` is for whoever sends: there is something new. A change that nobody waits for costs nothing."""

    def __init__(self, store: Store, view: View, feed: Feed) -> None:
        self._store = store
        self._view = view
        self._is_awaited = False  # whether a commit is on its way that brings some
        self.rules: Mapping[str, AlertRule] = {}
        self.wakeup = Wakeup()
        feed.listen(self._after_commit)

    async def learn(self) -> float | None:
        """Know the rules that the store has. Raises StoreUnavailable."""
        self.rules = {rule.name: rule for rule in await self._store.alerts.load_rules()}
        return None

    def about(self, before: Task, transition: Transition, now: datetime) -> tuple[Alert, ...]:
        """Return what is to be sent of a task's change, to be committed with it."""
        if not self.rules and not before.spec.alerts:
            return ()
        found = alerts_about(before, transition, self.rules, self._host(before.node_id), now)
        self._is_awaited |= bool(found)
        return found

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if self._is_awaited:
            self._is_awaited = False
            self.wakeup.set()

    def about_lost_node(self, node: Node, reason: str, now: datetime) -> tuple[Alert, ...]:
        """Return what is to be sent of a node's loss."""
        return node_alerts(node, self.rules.values(), reason, now)

    def _host(self, node_id: str | None) -> str | None:
        node = None if node_id is None else self._view.node(node_id)
        return None if node is None else node.hostname
