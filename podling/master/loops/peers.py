"""Knows the other masters that are alive, and what they changed about nodes."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from podling.core.node import Node
from podling.master.context import KnownMaster, MasterContext
from podling.master.leases import difference, others_with_another_lease
from podling.store.base import Master

_log = logging.getLogger(__name__)

DEAD_AFTER_LEASES = 2
FORGET_AFTER_LEASES = 20


async def _nothing() -> None:
    pass


class Peers:
    """A master's counter that stands still means that it is gone, or has no store any more.

    While others are alive, nodes are read again at every pass: they may have connected there.
    `masters_changed` is called when others came or went.
    `start_over` is called when this master's own record has gone: the store was restored from a
    backup, or the master was away for so long that it was taken for dead.
    """

    def __init__(
        self,
        context: MasterContext,
        node_changed: Callable[[str], None],
        masters_changed: Callable[[], None] = lambda: None,
        start_over: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._context = context
        self._start_over = start_over
        self._node_changed = node_changed
        self._masters_changed = masters_changed
        self._odd: set[str] = set()  # masters with another lease that were told of

    @property
    def interval_seconds(self) -> float:
        return min(1.0, self._context.options.lease_seconds / 4)

    async def run_once(self) -> float | None:
        context, own = self._context, self._context.options.master_id
        masters = await context.store.beat_master(own)
        if all(master.master_id != own for master in masters):
            await self._start_over()
            await context.store.register_master(context.record())
        context.masters = {master.master_id: self._see(master) for master in masters}
        others = [master for master in masters if master.master_id != own]
        await self._remove_gone(others)
        alive = [master for master in others if context.masters[master.master_id].alive]
        self._compare_leases([item for item in alive if context.masters[item.master_id].has_grown])
        self._tell([master.advertise_url for master in alive])
        if context.other_masters:
            await self.load_nodes()
        return self.interval_seconds

    def _see(self, master: Master) -> KnownMaster:
        known = self._context.masters.get(master.master_id)
        if known is None or known.counter != master.counter:
            now = self._context.clock.monotonic()
            return KnownMaster(master.counter, now, has_grown=known is not None)
        return replace(known, alive=self._silent_leases(known) < DEAD_AFTER_LEASES)

    async def _remove_gone(self, others: Sequence[Master]) -> None:
        for master in others if self._context.leads else ():
            if self._silent_leases(self._context.masters[master.master_id]) >= FORGET_AFTER_LEASES:
                await self._context.store.remove_master(master.master_id)

    def _compare_leases(self, alive: Sequence[Master]) -> None:
        """A start refuses it; two that start in one moment, or one that slept, may not have seen it."""
        for other in others_with_another_lease(self._context, alive):
            if other.master_id not in self._odd:
                self._odd.add(other.master_id)
                _log.warning("%s: a task may run twice at a time", difference(self._context, other))

    def _tell(self, urls: Sequence[str]) -> None:
        if self._context.other_masters != (told := tuple(urls)):
            self._context.other_masters = told
            self._masters_changed()

    def _silent_leases(self, known: KnownMaster) -> float:
        silent = self._context.clock.monotonic() - known.grown_at
        return silent / self._context.options.lease_seconds

    async def load_nodes(self) -> None:
        """Bring the view's nodes up to date with the store."""
        view = self._context.view
        before = {node.node_id: node for node in view.nodes()}
        loaded = {node.node_id: node for node in await self._context.store.load_nodes()}
        for node in loaded.values():
            known = view.node(node.node_id)
            if known is not before.get(node.node_id):
                continue  # this master has learnt of it meanwhile, and what was loaded may be older
            if _is_another(known, node):
                self._remove(node.node_id)  # and it is back, with sessions counted anew
            if _is_news(view.node(node.node_id), node):
                view.put_node(node)
                self._node_changed(node.node_id)
        for node_id in _gone(before, loaded):
            if view.node(node_id) is before[node_id]:
                self._remove(node_id)

    def _remove(self, node_id: str) -> None:
        self._context.view.remove_node(node_id)
        self._node_changed(node_id)


def _is_another(known: Node | None, node: Node) -> bool:
    if known is None or known.session_no <= node.session_no:
        return False
    return known.registered_at != node.registered_at


def _is_news(known: Node | None, node: Node) -> bool:
    if known is None:
        return True
    same = replace(known, last_heartbeat=node.last_heartbeat) == node
    return not same and known.session_no <= node.session_no


def _gone(before: Mapping[str, Node], loaded: Mapping[str, Node]) -> list[str]:
    """Return nodes that were known before the store was asked, and are not there."""
    return [node_id for node_id in before if node_id not in loaded]
