"""The search of nodes for the tasks of one shape, within one plan."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice

from podling.core.nodeindex import FEW, Eligible, NodeIndex
from podling.core.placement import Requirement, affinity_of, shortage
from podling.core.room import Room
from podling.core.spec import SLOTS, Affinity, Operator, Strategy

SAMPLES = 16
NEW_SAMPLES = 2  # with every further task of the shape

_Score = tuple[int, float]  # wishes, load: lower is better
_Sample = tuple[_Score, int, str]
_Rank = tuple[int, int, float]


class Ledger:
    """What is free on the nodes once the plan so far is carried out; the index stays as it is."""

    def __init__(self, index: NodeIndex) -> None:
        self._index = index
        self.taken: dict[str, Room] = {}
        self.full: set[str] = set()  # without a slot, which everything needs
        self._least: dict[str, int] = {}  # of each resource, what is free where the plan has left least of it
        self.checks = 0

    def charge_scan(self, nodes: int) -> None:
        """Count a look at one resource of so many nodes, each far less work than a check."""
        self.checks += nodes // 3

    def count_used_up(self, requirement: Requirement, eligible: Eligible) -> Counter[str]:
        """Count the nodes on which the plan itself has used up what the requirement asks for, by reason."""
        self.charge_scan(len(self.taken))
        rooms, inside = self._index.rooms, eligible.all()
        found: Counter[str] = Counter()
        for resource, wanted in requirement.requests.items():
            if self._least.get(resource, wanted) >= wanted:
                continue  # there is enough on each
            short = [
                node_id
                for node_id, room in self.taken.items()
                if room.free.get(resource, 0) < wanted <= rooms[node_id].free.get(resource, 0)
            ]
            found[shortage(resource, wanted)] += len(inside & frozenset(short))
        for port in requirement.host_ports:
            gone = [node_id for node_id, room in self.taken.items() if port in room.ports]
            taken_now = [node_id for node_id in gone if port not in rooms[node_id].ports]
            found[f"host port {port} in use"] += len(inside & frozenset(taken_now))
        return +found

    def room(self, node_id: str) -> Room:
        return self.taken.get(node_id) or self._index.rooms[node_id]

    def fits(self, node_id: str, requirement: Requirement) -> bool:
        self.checks += 1
        return self.room(node_id).fits(requirement)

    def take(self, node_id: str, requirement: Requirement) -> None:
        room = self.taken.get(node_id)
        if room is None:
            room = self.taken[node_id] = self._index.rooms[node_id].copy()
        room.take(requirement)
        for resource in requirement.requests:
            free = room.free[resource]
            self._least[resource] = min(self._least.get(resource, free), free)
        if room.free[SLOTS] <= 0:
            self.full.add(node_id)


class ShapeSearch:
    """Finds the best of a few samples, again and again, until nothing fits any more.

    Samples come from all eligible nodes, and apart from those that meet a wish and from each value
    of the label to spread over. `neighbours` counts the shape's live tasks by node.
    """

    def __init__(
        self,
        index: NodeIndex,
        ledger: Ledger,
        requirement: Requirement,
        eligible: Eligible,
        neighbours: Mapping[str, int],
        turn: int,
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._requirement = requirement
        self._placement = requirement.placement
        self._binpack = self._placement.strategy is Strategy.BINPACK
        self._turn = 0 if self._binpack else turn
        self._sources = [self._fitting(part) for part in self._parts(eligible)]
        self._seen: set[str] = set()
        self._order = 0
        self._crowds = self._count_crowds(neighbours)
        self._nodes: dict[str, list[_Sample]] = {}
        self._values: list[tuple[_Rank, str]] = []
        self._offered: dict[str, _Rank] = {}

    def pick(self) -> str | None:
        """Return the node for the next task and take its room there; None if nothing fits."""
        self._sample(NEW_SAMPLES if self._seen else SAMPLES)
        while True:
            node_id = self._pick_sampled()
            if node_id is not None:
                return node_id
            if not self._sample(SAMPLES):
                return None

    # Samples

    def _parts(self, eligible: Eligible) -> Iterator[Eligible]:
        for wish in self._placement.affinity:
            yield self._granting(eligible, wish)
        if self._placement.spread is not None:
            values = self._index.by_value(self._placement.spread)
            if len(values) <= FEW:
                yield from (eligible.and_in(values[text]) for text in sorted(values))
        yield eligible

    def _granting(self, eligible: Eligible, wish: Affinity) -> Eligible:
        """Return the eligible nodes to which the wish leads."""
        named = self._index.named(wish)
        meant = (wish.operator in (Operator.IN, Operator.EXISTS)) == (wish.weight > 0)
        return eligible.and_in(named) if meant else eligible.but(named)

    def _fitting(self, part: Eligible) -> Iterator[str]:
        ledger, requirement = self._ledger, self._requirement
        candidates = self._index.candidates(requirement, part, fullest_first=self._binpack, turn=self._turn)
        for node_id in candidates:
            if node_id in ledger.full or node_id in self._seen:
                continue
            if ledger.fits(node_id, requirement):
                self._seen.add(node_id)
                yield node_id

    def _sample(self, count: int) -> bool:
        """Take up to `count` further nodes from each source; False if there are none."""
        found = [node_id for source in self._sources for node_id in islice(source, count)]
        for node_id in found:
            self._order += 1
            self._add(node_id, self._order)
        return bool(found)

    def _add(self, node_id: str, order: int) -> None:
        spread_value = self._value_of(node_id)
        heapq.heappush(self._nodes.setdefault(spread_value, []), (self._score(node_id), order, node_id))
        self._offer(spread_value)

    def _offer(self, spread_value: str) -> None:
        """Let the value stand in the choice with the rank of its best node."""
        rank = self._rank(spread_value)
        known = self._offered.get(spread_value)
        if known is None or rank < known:
            self._offered[spread_value] = rank
            heapq.heappush(self._values, (rank, spread_value))

    # Choice: a heap of nodes per value of the label to spread over, and a heap of those values

    def _pick_sampled(self) -> str | None:
        while self._values:
            rank, spread_value = heapq.heappop(self._values)
            if self._offered.get(spread_value) != rank:
                continue  # a better offer of it was looked at already
            del self._offered[spread_value]
            if not self._refresh(self._nodes[spread_value]):
                continue
            if self._rank(spread_value) <= rank:
                return self._choose(spread_value)
            self._offer(spread_value)
        return None

    def _refresh(self, nodes: list[_Sample]) -> bool:
        """Bring the best of the nodes up to date; False if none of them fits any more."""
        while nodes:
            score, order, node_id = nodes[0]
            if node_id not in self._ledger.taken:
                return True
            if not self._ledger.fits(node_id, self._requirement):
                heapq.heappop(nodes)
                continue
            present = self._score(node_id)
            if present <= score:
                return True
            heapq.heapreplace(nodes, (present, order, node_id))
        return False

    def _choose(self, spread_value: str) -> str:
        _, order, node_id = heapq.heappop(self._nodes[spread_value])
        self._ledger.take(node_id, self._requirement)
        self._crowds[spread_value] += 1
        self._add(node_id, order)
        return node_id

    def _rank(self, spread_value: str) -> _Rank:
        """Return how well the best node of this value suits: wishes first, then crowd, then load."""
        wishes, load = self._nodes[spread_value][0][0]
        return wishes, self._crowds[spread_value] if self._placement.spread else 0, load

    def _score(self, node_id: str) -> _Score:
        node = self._index.nodes[node_id]
        wishes = -affinity_of(node, self._placement) if self._placement.affinity else 0
        load = self._load(node_id)
        return wishes, -load if self._binpack else load

    def _load(self, node_id: str) -> float:
        """Return the fraction in use of what the task needs most of there, from 0 to 1."""
        allocatable = self._index.nodes[node_id].allocatable
        free = self._ledger.room(node_id).free
        least = 1.0
        for resource in self._requirement.requests:
            total = allocatable.get(resource)
            if total:
                least = min(least, free[resource] / total)
        return 1 - least

    def _count_crowds(self, neighbours: Mapping[str, int]) -> Counter[str]:
        crowds: Counter[str] = Counter()
        if self._placement.spread is not None:
            for node_id, count in neighbours.items():
                if node_id in self._index.nodes:
                    crowds[self._value_of(node_id)] += count
        return crowds

    def _value_of(self, node_id: str) -> str:
        """Return the node's value of the label to spread over; nodes without it are one crowd."""
        if self._placement.spread is None:
            return ""
        return self._index.nodes[node_id].labels.get(self._placement.spread, "")
