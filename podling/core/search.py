"""The search of nodes for the tasks of one shape, within one plan."""

import heapq
from collections.abc import Iterator, Mapping, Set
from itertools import islice

from podling.core.nodeindex import NodeIndex
from podling.core.placement import Requirement, affinity_of
from podling.core.room import Room
from podling.core.spec import Strategy

SAMPLES = 16
NEW_SAMPLES = 2  # with every further task of the shape

_Score = tuple[int, int, float]


class Ledger:
    """What is free on the nodes once the plan so far is carried out; the index stays as it is."""

    def __init__(self, index: NodeIndex) -> None:
        self._index = index
        self.taken: dict[str, Room] = {}
        self.checks = 0

    def room(self, node_id: str) -> Room:
        return self.taken.get(node_id) or self._index.rooms[node_id]

    def fits(self, node_id: str, requirement: Requirement) -> bool:
        self.checks += 1
        return self.room(node_id).fits(requirement)

    def take(self, node_id: str, requirement: Requirement) -> None:
        if node_id not in self.taken:
            self.taken[node_id] = self._index.rooms[node_id].copy()
        self.taken[node_id].take(requirement)


class ShapeSearch:
    """Finds the best of a few samples, again and again, until nothing fits any more.

    With wishes (affinity, spread) every node that fits is a sample. `neighbours` counts the tasks
    of the shape by node, for the spread.
    """

    def __init__(
        self,
        index: NodeIndex,
        ledger: Ledger,
        requirement: Requirement,
        eligible: Set[str],
        neighbours: Mapping[str, int],
        turn: int,
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._requirement = requirement
        placement = requirement.placement
        self._binpack = placement.strategy is Strategy.BINPACK
        self._source: Iterator[str] = index.candidates(
            requirement, eligible, fullest_first=self._binpack, turn=0 if self._binpack else turn
        )
        self._wishes = bool(placement.affinity or placement.spread)
        self._by_value = self._spread_counts(neighbours)
        self._heap: list[tuple[_Score, int, str]] = []
        self._order = 0

    def pick(self) -> str | None:
        """Return the node for the next task and take its room there; None if nothing fits."""
        self._sample(None if self._wishes else max(NEW_SAMPLES, SAMPLES - len(self._heap)))
        while self._heap:
            score, order, node_id = heapq.heappop(self._heap)
            if self._ledger.fits(node_id, self._requirement):
                present = self._score(node_id)
                if present <= score:
                    return self._choose(node_id, order)
                heapq.heappush(self._heap, (present, order, node_id))
            elif not self._heap:
                self._sample(SAMPLES)
        return None

    def _sample(self, count: int | None) -> None:
        for node_id in islice(self._fitting(), count):
            self._order += 1
            heapq.heappush(self._heap, (self._score(node_id), self._order, node_id))

    def _fitting(self) -> Iterator[str]:
        ledger, requirement = self._ledger, self._requirement
        return (node_id for node_id in self._source if ledger.fits(node_id, requirement))

    def _choose(self, node_id: str, order: int) -> str:
        self._ledger.take(node_id, self._requirement)
        if self._requirement.placement.spread is not None:
            label = self._spread_value(node_id)
            self._by_value[label] = self._by_value.get(label, 0) + 1
        heapq.heappush(self._heap, (self._score(node_id), order, node_id))
        return node_id

    def _score(self, node_id: str) -> _Score:
        """Return how well the node suits, lower is better: wishes, spread, then load."""
        load = self._load(node_id)
        if not self._wishes:
            return 0, 0, -load if self._binpack else load
        placement = self._requirement.placement
        crowd = self._by_value.get(self._spread_value(node_id), 0) if placement.spread else 0
        affinity = affinity_of(self._index.nodes[node_id], placement)
        return -affinity, crowd, -load if self._binpack else load

    def _load(self, node_id: str) -> float:
        """Return the fraction in use of what the task needs most of there, from 0 to 1."""
        allocatable = self._index.nodes[node_id].allocatable
        free = self._ledger.room(node_id).free
        load = 0.0
        for resource in self._requirement.requests:
            total = allocatable.get(resource)
            if total:
                load = max(load, 1 - free.get(resource, 0) / total)
        return load

    def _spread_counts(self, neighbours: Mapping[str, int]) -> dict[str | None, int]:
        counts: dict[str | None, int] = {}
        if self._requirement.placement.spread is not None:
            for node_id, count in neighbours.items():
                if node_id in self._index.nodes:
                    label = self._spread_value(node_id)
                    counts[label] = counts.get(label, 0) + count
        return counts

    def _spread_value(self, node_id: str) -> str | None:
        spread = self._requirement.placement.spread
        return None if spread is None else self._index.nodes[node_id].labels.get(spread)
