"""Stops, on nodes that are drained, what still runs when the operator's time for it is over."""

from dataclasses import dataclass

from podling.core.lifecycle import Evict
from podling.core.node import Drain, Node
from podling.kit.wakeup import Wakeup
from podling.master.committer import Happening
from podling.master.context import MasterContext


@dataclass(slots=True)
class _Begun:
    drain: Drain
    at: float  # when this leader first saw it, by its own clock


class Drains:
    """A new leader counts the time anew: a drain may take longer then, and never less than asked for."""

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._begun: dict[str, _Begun] = {}
        self._epoch: int | None = None
        self.wakeup = Wakeup()
        context.node_listeners.append(self._node_changed)

    def _node_changed(self, node_id: str) -> None:
        """Wake for drains alone: nodes change far more often for other reasons."""
        node = self._context.view.node(node_id)
        if node_id in self._begun or (node is not None and node.drain is not None):
            self.wakeup.set()

    async def run_once(self) -> float | None:
        if self._context.epoch != self._epoch:
            self._epoch = self._context.epoch
            self._begun.clear()
        if self._epoch is None:
            return None
        self._note_begun()
        left = {node_id: self._seconds_left(begun) for node_id, begun in self._begun.items()}
        over = [node_id for node_id, seconds in left.items() if seconds <= 0]
        happenings = [happening for node_id in over for happening in self._evictions(node_id)]
        await self._context.committer.apply_as_leader(happenings)
        return min((seconds for seconds in left.values() if seconds > 0), default=None)

    def _note_begun(self) -> None:
        now = self._context.clock.monotonic()
        begun = {}
        for node in self._context.view.nodes():
            if node.drain is None or node.drain.deadline_seconds is None:
                continue
            known = self._begun.get(node.node_id)
            is_known = known is not None and known.drain == node.drain
            begun[node.node_id] = known if known and is_known else _Begun(node.drain, now)
        self._begun = begun

    def _seconds_left(self, begun: _Begun) -> float:
        assert begun.drain.deadline_seconds is not None
        return begun.at + begun.drain.deadline_seconds - self._context.clock.monotonic()

    def _evictions(self, node_id: str) -> list[Happening]:
        node = self._context.view.node(node_id)
        if node is None:
            return []
        reason = _reason(node)
        return [
            Happening(task.task_id, Evict(attempt=task.attempt, reason=reason), task)
            for task in self._context.view.live_tasks_on(node_id)
            if task.stop_reason is None and task.held is None
        ]


def _reason(node: Node) -> str:
    seconds = node.drain.deadline_seconds if node.drain else 0.0
    return f"node {node.hostname} ({node.node_id}) is drained, and {seconds:g} s to finish are over"
