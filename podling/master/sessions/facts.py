"""What the workers of this master have told of their machines; kept in memory, and soon forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass

from podling.core.facts import WorkerFacts

FRESH_SECONDS = 180.0  # a worker tells once a minute


@dataclass(frozen=True, slots=True)
class Told:
    """`ahead_seconds` is how far the worker's clock was ahead of this master's."""

    facts: WorkerFacts
    ahead_seconds: float
    at: float


class FactsTable:
    def __init__(self) -> None:
        self._by_node: dict[str, Told] = {}

    def keep(self, node_id: str, told: Told) -> None:
        self._forget_old(told.at)
        self._by_node[node_id] = told

    def fresh(self, now: float) -> Iterator[tuple[str, Told]]:
        """Yield what was told lately, by node id."""
        self._forget_old(now)
        yield from self._by_node.items()

    def _forget_old(self, now: float) -> None:
        kept = {node_id: told for node_id, told in self._by_node.items() if now - told.at < FRESH_SECONDS}
        self._by_node = kept
