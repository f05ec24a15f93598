"""Workers that this master has turned away, so that whoever looks at their nodes is told why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from podling.core.errors import PodlingError
from podling.core.node import Node
from podling.core.view import View
from podling.kit.clock import Clock

FRESH_SECONDS = 60.0  # a worker comes again every few seconds, at each master in turn

_REASONS = {
    "unauthorized": "it shows no token",
    "unknown_token": "there is no token such as it shows",
    "revoked_token": "its token was revoked",
    "expired_token": "its token has expired",
    "no_token_exists": "it shows a token, and the master knows none",
    "certificate_needed": "it shows no certificate",
}


@dataclass(frozen=True, slots=True)
class _Refused:
    reason: str
    at: float


class Refusals:
    """One for each node that is known, whoever it was that called himself so: it is told and decides nothing.

    In memory alone: strangers shall not have anything written.
    """

    def __init__(self, view: View, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._by_node: dict[str, _Refused] = {}

    def note(self, node_id: str, error: PodlingError) -> None:
        """Remember that a worker of this name was refused just now."""
        if self._view.node(node_id) is not None:
            reason = _REASONS.get(error.code, error.code)
            self._by_node[node_id] = _Refused(reason, self._clock.monotonic())

    def told(self, node: Node) -> Node:
        """Return the node with what this master knows about why it is offline."""
        reason = None if node.is_online else self._fresh(node.node_id)
        if reason is None:
            return node
        refused = f"its worker is refused: {reason}"
        return replace(node, lost_reason=f"{node.lost_reason}; {refused}" if node.lost_reason else refused)

    def all(self) -> Sequence[tuple[Node, str]]:
        """Return the nodes that are offline and whose workers are refused, with the reasons."""
        fresh = {node_id: self._fresh(node_id) for node_id in tuple(self._by_node)}
        known = [(self._view.node(node_id), reason) for node_id, reason in fresh.items()]
        return [(node, reason) for node, reason in known if node and reason and not node.is_online]

    def _fresh(self, node_id: str) -> str | None:
        known = self._by_node.get(node_id)
        if known is None:
            return None
        if self._view.node(node_id) is not None and self._clock.monotonic() - known.at < FRESH_SECONDS:
            return known.reason
        del self._by_node[node_id]
        return None
