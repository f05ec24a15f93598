"""Writes of nodes' rows, one at a time for each node, and what the view then shows of them.

The view is fed with what the store has after the write, never with what was meant to be written: an
operator's drain or cordon, or another master, may have been there in between.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from podling.core.node import Node, NodeChange, changes_between
from podling.core.view import View
from podling.store.base import Store


class NodeRows:
    """Inside `turn(node_id)` this master writes and shows nothing else of the node.

    `tell` is called with what this master changed of a node.
    """

    def __init__(self, store: Store, view: View, tell: Callable[[NodeChange], None]) -> None:
        self._store = store
        self._view = view
        self._tell = tell
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, node_id: str) -> AsyncIterator[None]:
        lock = self._turns.setdefault(node_id, asyncio.Lock())
        async with lock:
            yield

    async def save(self, node: Node, expected_session_no: int | None = None) -> bool:
        """Write the node and show what became of it, also if it has another session. Within a turn."""
        saved = await self._store.save_node(node, expected_session_no)
        await self.show(node.node_id)
        return saved

    async def show(self, node_id: str) -> Node | None:
        """Bring the view up to date with the store, and return what it has. Within a turn."""
        stored = await self._store.load_node(node_id)
        if stored is None:
            self._forget(node_id)
        else:
            self.put(stored)
        return stored

    async def remove(self, node_id: str) -> None:
        """Remove the node. Within a turn."""
        await self._store.remove_node(node_id)
        self._forget(node_id)

    def _forget(self, node_id: str) -> None:
        self._tell_of(self._view.node(node_id), None)
        self._view.remove_node(node_id)

    def put(self, stored: Node) -> None:
        """Show what the store has just answered. Within a turn."""
        known = self._view.node(stored.node_id)
        self._tell_of(known, stored)
        if known is not None and known.session_no > stored.session_no:
            self._view.remove_node(stored.node_id)  # removed, and back with sessions counted anew
        self._view.put_node(stored)

    def _tell_of(self, before: Node | None, after: Node | None) -> None:
        for change in changes_between(before, after):
            self._tell(change)
