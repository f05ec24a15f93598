"""Nodes, their sessions and their beats."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from podling.core.node import Drain, Node, NodeStatus
from podling.store.base import Beat


class NodeTable:
    """Every node has a beat, made with it and removed with it."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._beats: dict[str, Beat] = {}
        self._versions: dict[str, int] = {}
        self._written = 0

    def open_session(self, node: Node) -> int:
        known = self._nodes.get(node.node_id)
        number = known.session_no + 1 if known else 1
        opened = replace(node, status=NodeStatus.ONLINE, session_no=number)
        self._put(_as_served(opened, known))
        self._restart_beat(self._nodes[node.node_id])
        return number

    def save(self, node: Node, expected_session_no: int | None) -> bool:
        known = self._nodes.get(node.node_id)
        if expected_session_no is not None and (known is None or known.session_no != expected_session_no):
            return False
        self._put(_as_served(node, known))
        beat = self._beats.get(node.node_id)
        # Nothing is planned on a node without sessions, so its mark fences nothing and may go.
        if beat is None or (node.session_no == 0 and node.is_online):
            self._restart_beat(node)
        else:
            at = max(beat.at, node.last_heartbeat)
            self._beats[node.node_id] = beat._replace(session_no=node.session_no, at=at)
        return True

    def set_service(self, node_id: str, cordoned: bool, drain: Drain | None) -> Node | None:
        known = self._nodes.get(node_id)
        if known is None:
            return None
        self._put(replace(known, cordoned=cordoned, drain=drain))
        return self.load_one(node_id)

    def load_one(self, node_id: str) -> Node | None:
        node = self._nodes.get(node_id)
        return None if node is None else self._with_beat(node)

    def load(self, status: NodeStatus | None, node_ids: Collection[str] | None = None) -> list[Node]:
        wanted = self._nodes.keys() if node_ids is None else self._nodes.keys() & node_ids
        nodes = [self._nodes[node_id] for node_id in wanted]
        chosen = [self._with_beat(node) for node in nodes if status in (None, node.status)]
        return sorted(chosen, key=lambda node: (node.registered_at, node.node_id), reverse=True)

    def versions(self) -> Mapping[str, int]:
        return dict(self._versions)

    def remove(self, node_id: str) -> bool:
        self._beats.pop(node_id, None)
        self._versions.pop(node_id, None)
        return self._nodes.pop(node_id, None) is not None

    def beat(self, sessions: Mapping[str, int], now: datetime) -> frozenset[str]:
        return frozenset(node_id for node_id, number in sessions.items() if self._beat(node_id, number, now))

    def load_beats(self) -> Sequence[Beat]:
        return list(self._beats.values())

    def mark_lost(self, node_id: str, seen_counter: int) -> bool:
        beat = self._beats.get(node_id)
        if beat is None or beat.lost or beat.counter != seen_counter:
            return False
        self._beats[node_id] = beat._replace(lost=True)
        return True

    def _put(self, node: Node) -> None:
        self._written += 1
        self._nodes[node.node_id] = node
        self._versions[node.node_id] = self._written

    def _beat(self, node_id: str, session_no: int, now: datetime) -> bool:
        beat = self._beats.get(node_id)
        if beat is None or beat.lost or beat.session_no != session_no:
            return False
        self._beats[node_id] = beat._replace(counter=beat.counter + 1, at=now)
        return True

    def _with_beat(self, node: Node) -> Node:
        return replace(node, last_heartbeat=self._beats[node.node_id].at)

    def _restart_beat(self, node: Node) -> None:
        """Clear the mark; a counter that grows shows whoever watches it that the node lives."""
        known = self._beats.get(node.node_id)
        self._beats[node.node_id] = Beat(
            node_id=node.node_id,
            session_no=node.session_no,
            counter=known.counter + 1 if known else 0,
            at=node.last_heartbeat,
        )


def _as_served(node: Node, known: Node | None) -> Node:
    """Return the node with what an operator has said about the one that is known."""
    return node if known is None else replace(node, cordoned=known.cordoned, drain=known.drain)
