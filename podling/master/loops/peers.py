"""Knows the other masters that are alive, and what they changed about nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from podling.core.node import Node
from podling.master.context import MasterContext
from podling.store.base import Master

DEAD_AFTER_LEASES = 2
FORGET_AFTER_LEASES = 20


@dataclass(slots=True)
class _Seen:
    counter: int
    since: float


class Peers:
    """A master's counter that stands still means that it is gone, or has no store any more.

    While others are alive, nodes are read again at every pass: they may have connected there.
    """

    def __init__(self, context: MasterContext, node_changed: Callable[[str], None]) -> None:
        self._context = context
        self._node_changed = node_changed
        self._seen: dict[str, _Seen] = {}

    @property
    def interval_seconds(self) -> float:
        return min(1.0, self._context.options.lease_seconds / 4)

    async def run_once(self) -> float | None:
        context, own = self._context, self._context.options.master_id
        masters = await context.store.beat_master(own)
        if all(master.master_id != own for master in masters):
            await context.store.register_master(context.record())
        others = [master for master in masters if master.master_id != own]
        await self._watch(others)
        alive = [master for master in others if self._silent_leases(master) < DEAD_AFTER_LEASES]
        context.other_masters = tuple(master.advertise_url for master in alive)
        if alive:
            await self.load_nodes()
        return self.interval_seconds

    async def _watch(self, others: list[Master]) -> None:
        now = self._context.clock.monotonic()
        for master in others:
            seen = self._seen.get(master.master_id)
            if seen is None or seen.counter != master.counter:
                self._seen[master.master_id] = _Seen(master.counter, now)
            elif self._context.leads and self._silent_leases(master) >= FORGET_AFTER_LEASES:
                await self._context.store.remove_master(master.master_id)
        known = {master.master_id for master in others}
        self._seen = {master_id: seen for master_id, seen in self._seen.items() if master_id in known}

    def _silent_leases(self, master: Master) -> float:
        silent = self._context.clock.monotonic() - self._seen[master.master_id].since
        return silent / self._context.options.lease_seconds

    async def load_nodes(self) -> None:
        """Bring the view's nodes up to date with the store."""
        view = self._context.view
        before = {node.node_id: node for node in view.nodes()}
        loaded = {node.node_id: node for node in await self._context.store.load_nodes()}
        for node in loaded.values():
            if _is_news(view.node(node.node_id), node):
                view.put_node(node)
                self._node_changed(node.node_id)
        for node_id in _gone(before, loaded):
            view.remove_node(node_id)


def _is_news(known: Node | None, node: Node) -> bool:
    if known is None:
        return True
    same = replace(known, last_heartbeat=node.last_heartbeat) == node
    return not same and known.session_no <= node.session_no


def _gone(before: Mapping[str, Node], loaded: Mapping[str, Node]) -> list[str]:
    """Return nodes that were known before the store was asked, and are not there."""
    return [node_id for node_id in before if node_id not in loaded]
