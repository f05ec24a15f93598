"""Declares a node lost after a whole lease without a beat, measured on this master's own clock."""

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass, replace

from podling.core.lifecycle import Lose
from podling.core.node import Node, NodeStatus
from podling.core.task import Task
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.store.base import Beat

_log = logging.getLogger(__name__)

REST_LEASES = 8  # a node that only sends heartbeats runs nothing, and may take its time


@dataclass(slots=True)
class _Seen:
    session_no: int
    counter: int
    since: float


class NodeMonitor:
    """Level-triggered: what a crash leaves undone after the mark is done by the next pass."""

    def __init__(self, context: MasterContext, node_changed: Callable[[str], None]) -> None:
        self._context = context
        self._node_changed = node_changed
        self._seen: dict[str, _Seen] = {}
        self._epoch: int | None = None

    @property
    def interval_seconds(self) -> float:
        return min(1.0, self._context.options.lease_seconds / 6)

    async def run_once(self) -> float | None:
        if self._context.epoch != self._epoch:
            self._epoch = self._context.epoch
            self._seen.clear()  # a new leader waits a whole lease before it expires anybody
        if self._epoch is None:
            return self.interval_seconds
        beats = await self._context.store.load_beats()
        if self._context.epoch != self._epoch:
            return self.interval_seconds  # the store was away meanwhile, also for the nodes' beats
        known = {beat.node_id for beat in beats}
        orphans = self._orphans(known)
        known.update(beat.node_id for beat in orphans)
        self._forget_all_but(known)
        now = self._context.clock.monotonic()
        for beat in beats:
            if beat.lost:
                await self._lose(beat)
            elif self._stood_still(beat, now):
                await self._mark(beat)
        for orphan in orphans:
            if self._stood_still(orphan, now):
                await self._lose_tasks(orphan.node_id, f"node {orphan.node_id} was removed from the list")
        return self.interval_seconds

    def _orphans(self, known: Set[str]) -> list[Beat]:
        """Return a beat that never grows for each node that has live attempts and no record."""
        view, now = self._context.view, self._context.clock.now()
        return [
            Beat(node_id=node_id, session_no=-1, counter=-1, at=now)
            for node_id in view.totals()
            if node_id not in known and view.node(node_id) is None
        ]

    def _forget_all_but(self, node_ids: Set[str]) -> None:
        if len(self._seen) > len(node_ids):
            self._seen = {node_id: seen for node_id, seen in self._seen.items() if node_id in node_ids}

    def _stood_still(self, beat: Beat, now: float) -> bool:
        seen = self._seen.get(beat.node_id)
        if seen is None or (seen.session_no, seen.counter) != (beat.session_no, beat.counter):
            self._seen[beat.node_id] = _Seen(beat.session_no, beat.counter, now)
            return False
        leases = REST_LEASES if beat.session_no == 0 else 1
        return now - seen.since >= self._context.options.lease_seconds * leases

    async def _mark(self, beat: Beat) -> None:
        node = self._context.view.node(beat.node_id)
        if node is None or self._epoch is None or not (node.is_online or self._waiting_on(node.node_id)):
            return
        if await self._context.store.mark_lost(beat.node_id, beat.counter, self._epoch):
            _log.warning("node %s (%s) is lost: no beat for a whole lease", node.node_id, node.hostname)
            await self._lose(beat._replace(lost=True))

    async def _lose(self, beat: Beat) -> None:
        node = self._context.view.node(beat.node_id)
        if node is None:
            return
        reason = f"node {node.hostname} ({node.node_id}) did not answer for a whole lease"
        if node.is_online and not await self._put_offline(node, beat, reason):
            return  # it came back meanwhile
        if not node.is_online and node.lost_reason not in (None, reason):
            reason = f"{node.lost_reason}, and it was not back within a whole lease"
        await self._lose_tasks(beat.node_id, reason)

    def _waiting_on(self, node_id: str) -> list[Task]:
        """Return the node's live tasks about which nothing was decided yet."""
        return [task for task in self._context.view.live_tasks_on(node_id) if task.held is None]

    async def _lose_tasks(self, node_id: str, reason: str) -> None:
        happenings = [
            Happening(task.task_id, Lose(attempt=task.attempt, reason=reason), task)
            for task in self._waiting_on(node_id)
        ]
        await self._context.committer.apply_as_leader(happenings)

    async def _tell(self, node: Node, reason: str) -> None:
        """Before the node is offline, after which nobody would look again; told twice it is one alert."""
        alerts = self._context.alerts.about_lost_node(node, reason, self._context.clock.now())
        if alerts and self._epoch is not None:
            await self._context.store.alerts.add(alerts, self._epoch)
            self._context.alerts.wakeup.set()

    async def _put_offline(self, node: Node, beat: Beat, reason: str) -> bool:
        rows = self._context.node_rows
        async with rows.turn(node.node_id):
            known = self._context.view.node(node.node_id)
            if known is None or known.session_no != beat.session_no:
                await rows.show(node.node_id)
                return False  # it has a session that this view, or this beat, does not know yet
            await self._tell(known, reason)
            offline = replace(known, status=NodeStatus.OFFLINE, lost_reason=reason)
            if not await rows.save(offline, beat.session_no):
                return False
        self._node_changed(node.node_id)
        return True
