"""Nodes, their sessions and their beats."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import asyncpg

from podling.core.node import Drain, Node, NodeStatus
from podling.store.base import Beat
from podling.store.postgres.errors import translated
from podling.store.postgres.hints import Notifier
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import from_json, to_json

_SQL = load("nodes")


class Nodes:
    """The part of the store about nodes; see `Store` for what each method means."""

    _pool: Pool
    _guard: LeaderGuard
    _notifier: Notifier

    async def open_session(self, node: Node) -> int:
        service = _service(node.cordoned, node.drain)
        row = (node.node_id, node.registered_at, to_json(node), *service, node.last_heartbeat)
        opened = await self._pool.fetch_row(_SQL.open_session, *row)
        assert opened is not None
        return int(opened["session_no"])

    async def save_node(self, node: Node, expected_session_no: int | None = None) -> bool:
        async with self._transaction() as connection:
            if expected_session_no is not None:
                held = await connection.fetchval(_SQL.session_no, node.node_id)
                if held != expected_session_no:
                    return False
            row = (node.node_id, node.status, node.session_no, node.registered_at, to_json(node))
            service = _service(node.cordoned, node.drain)
            saved = await connection.fetchval(_SQL.save, *row, *service, expected_session_no)
            if saved is None:
                return False
            # Nothing is planned on a node without sessions, so its mark fences nothing and may go.
            restarts = node.session_no == 0 and node.is_online
            sql = _SQL.start_beats if restarts else _SQL.save_heartbeat
            await connection.execute(sql, node.node_id, node.session_no, node.last_heartbeat)
            return True

    async def set_service(self, node_id: str, *, cordoned: bool, drain: Drain | None) -> Node | None:
        row = await self._pool.fetch_row(_SQL.set_service, node_id, *_service(cordoned, drain))
        self._notifier.call()
        return None if row is None else read_node(row)

    async def load_node(self, node_id: str) -> Node | None:
        row = await self._pool.fetch_row(_SQL.load_one, node_id)
        return None if row is None else read_node(row)

    async def load_nodes(
        self, status: NodeStatus | None = None, node_ids: Collection[str] | None = None
    ) -> Sequence[Node]:
        if node_ids is None:
            return read_nodes(await self._pool.fetch(_SQL.load, status))
        return read_nodes(await self._pool.fetch(_SQL.load_some, status, list(node_ids)))

    async def node_versions(self) -> Mapping[str, int]:
        return {row["node_id"]: row["xmin"] for row in await self._pool.fetch(_SQL.versions)}

    async def remove_node(self, node_id: str) -> bool:
        async with self._transaction() as connection:
            removed = await connection.fetchval(_SQL.remove, node_id)
            await connection.execute(_SQL.remove_beats, node_id)
        self._notifier.call()
        return removed is not None

    async def beat(self, sessions: Mapping[str, int], now: datetime) -> frozenset[str]:
        if not sessions:
            return frozenset()
        rows = await self._pool.fetch(_SQL.beat, list(sessions), list(sessions.values()), now, urgent=True)
        return frozenset(row["node_id"] for row in rows)

    async def load_beats(self) -> Sequence[Beat]:
        return list(map(Beat._make, await self._pool.fetch(_SQL.beats)))

    async def mark_lost(self, node_id: str, seen_counter: int, epoch: int) -> bool:
        async with self._transaction(epoch) as connection:
            return await connection.fetchval(_SQL.mark_lost, node_id, seen_counter) is not None

    @asynccontextmanager
    async def _transaction(self, epoch: int | None = None) -> AsyncIterator[Connection]:
        with translated():
            async with self._pool.transaction(*self._guard.settings(epoch)) as connection:
                await self._guard.check(connection, epoch)
                yield connection


def read_nodes(rows: Sequence[asyncpg.Record]) -> list[Node]:
    return [read_node(row) for row in rows]


def read_node(row: asyncpg.Record) -> Node:
    """Put together what its worker said, what an operator said, and its beat."""
    return replace(
        from_json(Node, row["body"]),
        status=NodeStatus(row["status"]),
        session_no=row["session_no"],
        cordoned=row["cordoned"],
        drain=None if row["drain"] is None else from_json(Drain, row["drain"]),
        last_heartbeat=row["at"],
    )


def _service(cordoned: bool, drain: Drain | None) -> tuple[bool, str | None]:
    """Return the columns that only an operator changes."""
    return cordoned, None if drain is None else to_json(drain)
