"""The nodes, found by what they are (sets by label and runtime) and by what they have free (buckets)."""

from collections import Counter
from collections.abc import Collection, Iterator, Set
from itertools import chain, islice

from podling.core.node import Node
from podling.core.placement import Requirement, describe_unmet, shortage, unavailability
from podling.core.places import named_place
from podling.core.room import Bucket, Room, bucket_of
from podling.core.spec import CPU, MEMORY, SLOTS, Affinity, Constraint, Operator, Placement

FEW = 64
GOLDEN = (5**0.5 - 1) / 2  # its multiples lie evenly between 0 and 1, however many there are
_DIMENSIONS = {SLOTS: 0, CPU: 1, MEMORY: 2}
_NONE: Set[str] = frozenset()


class Eligible:
    """The nodes that stand in every set of `within` and in none of `without`; not copied until asked."""

    def __init__(self, within: Collection[Set[str]], without: Collection[Set[str]] = ()) -> None:
        self._within = sorted(within, key=len)
        self._without = tuple(without)

    def __contains__(self, node_id: str) -> bool:
        for members in self._within:
            if node_id not in members:
                return False
        return not self._without or all(node_id not in members for members in self._without)

    def __iter__(self) -> Iterator[str]:
        return (node_id for node_id in self._within[0] if node_id in self)

    def all(self) -> Set[str]:
        """Return them as one set, which must not be changed."""
        found = self._within[0]
        for members in self._within[1:]:
            found = found & members
        for gone in self._without:
            found = found - gone
        return found

    def covers(self, nodes: Set[str]) -> bool:
        """Whether it is known to be all of these nodes, without looking at each."""
        return len(self._within) == 1 and not self._without and self.bound == len(nodes)

    @property
    def bound(self) -> int:
        """The number of nodes that it may have at most."""
        return len(self._within[0])

    def but(self, nodes: Set[str]) -> "Eligible":
        return Eligible(self._within, (*self._without, nodes)) if nodes else self

    def and_in(self, nodes: Set[str]) -> "Eligible":
        return Eligible((*self._within, nodes), self._without)


class NodeIndex:
    """Only nodes that take new work stand in the sets and buckets; `rooms` holds every node's.

    A bucket is in the order of last use, so that nodes which are alike take turns. Up to `few`
    eligible nodes are looked at one by one, whatever their buckets.
    """

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self.nodes: dict[str, Node] = {}
        self.rooms: dict[str, Room] = {}
        self.version = 0
        self._available: set[str] = set()
        self._unavailable: Counter[str] = Counter()
        self._by_runtime: dict[str, set[str]] = {}
        self._by_key: dict[str, set[str]] = {}
        self._by_label: dict[str, dict[str, set[str]]] = {}
        self._buckets: dict[Bucket, dict[str, None]] = {}
        self._bucket_of: dict[str, Bucket] = {}

    def put(self, node: Node, room: Room) -> None:
        """Insert or replace a node with what is free on it."""
        self.remove(node.node_id)
        self.nodes[node.node_id] = node
        self.rooms[node.node_id] = room
        lack = unavailability(node)
        if lack is None:
            self._offer(node)
        else:
            self._unavailable[lack.reason] += 1

    def remove(self, node_id: str) -> None:
        """Forget a node; nothing happens if it is not known."""
        self.version += 1
        node = self.nodes.pop(node_id, None)
        if node is None:
            return
        lack = unavailability(node)
        if lack is None:
            self._withdraw(node)
        else:
            self._unavailable[lack.reason] -= 1
        del self.rooms[node_id]

    def take(self, node_id: str, requirement: Requirement) -> None:
        """Count down what is free on the node, and put it behind its like."""
        room = self.rooms.get(node_id)
        if room is not None:
            room.take(requirement)
            self._move(node_id, room)

    def give(self, node_id: str, requirement: Requirement) -> None:
        room = self.rooms.get(node_id)
        if room is not None:
            room.give(requirement)
            self._move(node_id, room)

    def _offer(self, node: Node) -> None:
        node_id = node.node_id
        self._available.add(node_id)
        for runtime in node.runtimes:
            self._by_runtime.setdefault(runtime, set()).add(node_id)
        for label, text in node.labels.items():
            self._by_key.setdefault(label, set()).add(node_id)
            self._by_label.setdefault(label, {}).setdefault(text, set()).add(node_id)
        self._enter(node_id, self.rooms[node_id].bucket())

    def _withdraw(self, node: Node) -> None:
        node_id = node.node_id
        self._available.remove(node_id)
        for runtime in node.runtimes:
            self._by_runtime[runtime].discard(node_id)
        for label, text in node.labels.items():
            self._by_key[label].discard(node_id)
            values = self._by_label[label]
            values[text].discard(node_id)
            if not values[text]:
                del values[text]
        self._leave(node_id)

    def _move(self, node_id: str, room: Room) -> None:
        self.version += 1
        if node_id in self._bucket_of:
            self._leave(node_id)
            self._enter(node_id, room.bucket())

    def _enter(self, node_id: str, bucket: Bucket) -> None:
        self._buckets.setdefault(bucket, {})[node_id] = None
        self._bucket_of[node_id] = bucket

    def _leave(self, node_id: str) -> None:
        bucket = self._bucket_of.pop(node_id)
        members = self._buckets[bucket]
        del members[node_id]
        if not members:
            del self._buckets[bucket]

    # What a node is

    def eligible(self, requirement: Requirement) -> Eligible:
        """Return the nodes that take new work and meet the runtime, selector and constraints."""
        within, without = [self._offering(requirement)], []
        for condition in _conditions(requirement.placement):
            matching = self.named(condition)
            if condition.operator in (Operator.IN, Operator.EXISTS):
                within.append(matching)
            else:
                without.append(matching)
        return Eligible(within, without)

    def _offering(self, requirement: Requirement) -> Set[str]:
        return self._by_runtime.get(requirement.runtime.value, _NONE)

    def named(self, condition: Constraint | Affinity) -> Set[str]:
        """Return the nodes that have the condition's label, and one of its values if it names any."""
        if condition.operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST):
            return self._by_key.get(condition.label, _NONE)
        values = self._by_label.get(condition.label, {})
        named = [values[text] for text in condition.values if text in values]
        return named[0] if len(named) == 1 else frozenset[str]().union(*named)

    def by_value(self, label: str) -> dict[str, set[str]]:
        """Return the nodes by their value of the label."""
        return self._by_label.get(label, {})

    # What a node has free

    def candidates(
        self, requirement: Requirement, eligible: Eligible, *, fullest_first: bool, turn: int = 0
    ) -> Iterator[str]:
        """Yield eligible nodes whose bucket does not rule them out, the emptiest bucket first.

        Each `turn` begins elsewhere in a bucket, far from where the others begin and go on: shapes that
        are planned together would otherwise look at the nodes that the others have just filled.
        """
        if eligible.bound <= self._few:
            yield from sorted(eligible)
            return
        wanted = bucket_of(requirement.requests)
        possible = [bucket for bucket in self._buckets if _may_hold(bucket, wanted)]
        possible.sort(key=lambda bucket: (sum(bucket), bucket), reverse=not fullest_first)
        everybody = eligible.covers(self._available)
        for bucket in possible:
            for node_id in self._roomy(bucket, requirement, turn):
                if everybody or node_id in eligible:
                    yield node_id

    def _roomy(self, bucket: Bucket, requirement: Requirement, turn: int) -> Iterator[str]:
        """Yield the bucket's nodes that have enough of the resource which its size leaves open."""
        members, rooms = self._buckets[bucket], self.rooms
        start = int(turn * GOLDEN % 1 * len(members))
        turned = chain(islice(members, start, None), islice(members, start))
        resource, wanted = _open_resource(bucket, requirement)
        if resource is None:
            return turned
        return (node_id for node_id in turned if rooms[node_id].free.get(resource, 0) >= wanted)

    def count_lacks(self, requirement: Requirement, eligible: Eligible) -> Counter[str]:
        """Return of how many nodes each thing is true that keeps the requirement off them."""
        counts = Counter({reason: count for reason, count in self._unavailable.items() if count})
        self._count_mismatches(requirement, counts)
        inside = eligible.all()
        for bucket, members in self._buckets.items():
            nodes = members if len(inside) == len(self._available) else members.keys() & inside
            self._count_shortages(requirement, bucket, nodes, counts)
        for port in requirement.host_ports:
            taken = sum(port in self.rooms[node_id].ports for node_id in inside)
            counts[f"host port {port} in use"] += taken
        return +counts

    def looks_at_lacks(self, requirement: Requirement, eligible: Eligible) -> int:
        """Return how many looks at a node `count_lacks` takes; the sizes of most buckets need none."""
        wanted = requirement.requests.items()
        apart = 0 if eligible.covers(self._available) else 1
        return (apart + len(requirement.host_ports)) * eligible.bound + sum(
            len(members) * sum(_is_open(bucket, resource, amount) for resource, amount in wanted)
            for bucket, members in self._buckets.items()
        )

    def _count_mismatches(self, requirement: Requirement, counts: Counter[str]) -> None:
        total = len(self._available)
        reason = f"runtime {requirement.runtime.value} missing"
        counts[reason] += total - len(self._offering(requirement))
        conditions = {describe_unmet(each): each for each in _conditions(requirement.placement)}
        for reason, condition in conditions.items():
            named = len(self.named(condition))
            inclusive = condition.operator in (Operator.IN, Operator.EXISTS)
            counts[reason] += total - named if inclusive else named

    def _count_shortages(
        self,
        requirement: Requirement,
        bucket: Bucket,
        inside: Collection[str],
        counts: Counter[str],
    ) -> None:
        rooms = self.rooms
        for resource, wanted in requirement.requests.items():
            if named_place(resource) is not None:
                self._count_places(resource, wanted, inside, counts)
                continue
            if _is_open(bucket, resource, wanted):
                short = sum(rooms[node_id].free.get(resource, 0) < wanted for node_id in inside)
            else:
                short = len(inside) if bucket[_DIMENSIONS[resource]] < wanted.bit_length() else 0
            counts[f"insufficient {resource}"] += short

    def _count_places(
        self, resource: str, wanted: int, inside: Collection[str], counts: Counter[str]
    ) -> None:
        """Tell nodes without the handler or database from those where all its places are taken."""
        for node_id in inside:
            if self.rooms[node_id].free.get(resource, 0) < wanted:
                counts[shortage(resource, self.nodes[node_id].allocatable.get(resource, 0))] += 1


def _conditions(placement: Placement) -> Iterator[Constraint]:
    for label, text in placement.node_selector.items():
        yield Constraint(label=label, values=(text,))
    yield from placement.constraints


def _open_resource(bucket: Bucket, requirement: Requirement) -> tuple[str | None, int]:
    """Return a resource of which the bucket's nodes may have enough or not, and how much is wanted."""
    for resource, wanted in requirement.requests.items():
        if _is_open(bucket, resource, wanted):
            return resource, wanted
    return None, 0


def _is_open(bucket: Bucket, resource: str, wanted: int) -> bool:
    """Whether a bucket's size leaves open which of its nodes have enough of the resource."""
    dimension = _DIMENSIONS.get(resource)
    return dimension is None or bucket[dimension] == wanted.bit_length()


def _may_hold(bucket: Bucket, wanted: Bucket) -> bool:
    return bucket[0] >= wanted[0] and bucket[1] >= wanted[1] and bucket[2] >= wanted[2]
