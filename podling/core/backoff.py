"""Nodes keep away for a while from shapes of which they could not make a container.

So one bad node does not eat every retry. Each master remembers for itself what it saw committed, by
itself or by others: whoever takes the lead goes on with what it has seen, and a master that starts
begins without.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_SECONDS = 30.0
LONGEST_SECONDS = 300.0
_MOST_SHAPES = 10_000


@dataclass(slots=True)
class _Record:
    failures: int
    until: float


class BackOffs:
    """The time doubles with every failure in a row, and a start ends it. Times are the planner's clock."""

    def __init__(self) -> None:
        self._by_shape: OrderedDict[str, dict[str, _Record]] = OrderedDict()

    def failed(self, node_id: str, shape: str, now: float) -> None:
        """The node could not make a container of this shape, or sent one back."""
        records = self._records(shape)
        known = records.get(node_id)
        if known is None or known.until + LONGEST_SECONDS < now:
            failures = 1
        elif known.until > now:
            return  # of attempts that were under way together, the first one counts
        else:
            failures = known.failures + 1
        wait = min(FIRST_SECONDS * 2.0 ** min(failures - 1, 30), LONGEST_SECONDS)
        records[node_id] = _Record(failures, now + wait)

    def started(self, node_id: str, shape: str) -> None:
        """The node has made one: it is as good as any other."""
        records = self._by_shape.get(shape)
        if records is not None:
            records.pop(node_id, None)

    def current(self, shape: str, now: float) -> Mapping[str, float]:
        """Return the nodes that back off for the shape, and until when."""
        records = self._by_shape.get(shape, {})
        return {node_id: record.until for node_id, record in records.items() if record.until > now}

    def _records(self, shape: str) -> dict[str, _Record]:
        records = self._by_shape.setdefault(shape, {})
        self._by_shape.move_to_end(shape)
        if len(self._by_shape) > _MOST_SHAPES:
            self._by_shape.popitem(last=False)
        return records
