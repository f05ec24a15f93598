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
PAGE = 500  # nodes that are read and compared at a time


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
        self._compared: dict[str, tuple[int, Node]] = {}  # versions in the store, and what the view had then

    @property
    def interval_seconds(self) -> float:
        return min(1.0, self._context.options.lease_seconds / 4)

    async def run_once(self) -> float | None:
        context, own = self._context, self._context.options.master_id
        masters = await context.store.beat_master(own)
        if all(master.master_id != own for master in masters):
            self._compared.clear()  # in a database that was restored, versions may come a second time
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
        """Bring the view's nodes up to date with the store. Only what has changed there is read."""
        view = self._context.view
        before = {node.node_id: node for node in view.nodes()}
        versions = await self._context.store.node_versions()
        changed = [node_id for node_id, version in versions.items() if self._differs(node_id, version)]
        for first in range(0, len(changed), PAGE):
            await self._compare(changed[first : first + PAGE], versions)
        for node_id in self._compared.keys() - versions.keys():
            del self._compared[node_id]
        for node_id in before.keys() - versions.keys():
            if view.node(node_id) is before[node_id]:
                self._remove(node_id)

    def _differs(self, node_id: str, version: int) -> bool:
        """Whether the store or the view has another record than when they were compared last."""
        compared = self._compared.get(node_id)
        return (
            compared is None or compared[0] != version or compared[1] is not self._context.view.node(node_id)
        )

    async def _compare(self, node_ids: Sequence[str], versions: Mapping[str, int]) -> None:
        view = self._context.view
        before = {node_id: view.node(node_id) for node_id in node_ids}
        for node in await self._context.store.load_nodes(node_ids=node_ids):
            known = view.node(node.node_id)
            if known is not before[node.node_id]:
                continue  # this master has learnt of it meanwhile, and what was loaded may be older
            if _is_another(known, node):
                self._remove(node.node_id)  # and it is back, with sessions counted anew
            if _is_news(view.node(node.node_id), node):
                view.put_node(node)
                self._node_changed(node.node_id)
            shown = view.node(node.node_id)
            if shown is not None and shown.session_no == node.session_no:
                self._compared[node.node_id] = versions[node.node_id], shown

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
