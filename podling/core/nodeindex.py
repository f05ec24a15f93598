"""The nodes, found by what they are (sets by label and runtime) and by what they have free (buckets)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Set

from podling.core.node import Node
from podling.core.placement import Requirement, describe_unmet, unavailability
from podling.core.room import Bucket, Room, bucket_of
from podling.core.spec import CPU, MEMORY, SLOTS, Constraint, Operator, Placement

FEW = 64  # so many eligible nodes are looked at one by one, whatever their buckets
_DIMENSIONS = {SLOTS: 0, CPU: 1, MEMORY: 2}
_NONE: Set[str] = frozenset()


class NodeIndex:
    """Only nodes that take new work stand in the sets and buckets; `rooms` holds every node's.

    A bucket is in the order of last use, so that nodes which are alike take turns.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.rooms: dict[str, Room] = {}
        self.version = 0
        self._available: set[str] = set()
        self._unavailable: Counter[str] = Counter()
        self._by_runtime: dict[str, set[str]] = {}
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
            self._by_label.setdefault(label, {}).setdefault(text, set()).add(node_id)
        self._enter(node_id, self.rooms[node_id].bucket())

    def _withdraw(self, node: Node) -> None:
        node_id = node.node_id
        self._available.remove(node_id)
        for runtime in node.runtimes:
            self._by_runtime[runtime].discard(node_id)
        for label, text in node.labels.items():
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

    def eligible(self, requirement: Requirement) -> Set[str]:
        """Return the nodes that take new work and meet the runtime, selector and constraints."""
        sets = [self._offering(requirement), *self._matching(requirement.placement)]
        sets.sort(key=len)
        found = sets[0]
        for other in sets[1:]:
            found = found & other
        return found

    def _offering(self, requirement: Requirement) -> Set[str]:
        return self._by_runtime.get(requirement.runtime.value, _NONE)

    def _matching(self, placement: Placement) -> Iterator[Set[str]]:
        for label, text in placement.node_selector.items():
            yield self._by_label.get(label, {}).get(text, _NONE)
        for constraint in placement.constraints:
            yield self._meeting(constraint)

    def _meeting(self, constraint: Constraint) -> Set[str]:
        values = self._by_label.get(constraint.label, {})
        named = [values[text] for text in constraint.values if text in values]
        match constraint.operator:
            case Operator.IN:
                return set[str]().union(*named)
            case Operator.NOT_IN:
                return self._available.difference(*named)
            case Operator.EXISTS:
                return set[str]().union(*values.values())
            case Operator.DOES_NOT_EXIST:
                return self._available.difference(*values.values())

    # What a node has free

    def candidates(
        self, requirement: Requirement, eligible: Set[str], *, fullest_first: bool, turn: int = 0
    ) -> Iterator[str]:
        """Yield eligible nodes whose bucket does not rule them out, the emptiest bucket first.

        `turn` shifts where in a bucket to begin, so that shapes do not all begin with the same node.
        """
        if len(eligible) <= FEW:
            yield from sorted(eligible)
            return
        wanted = bucket_of(requirement.requests)
        possible = [bucket for bucket in self._buckets if _may_hold(bucket, wanted)]
        possible.sort(key=lambda bucket: (sum(bucket), bucket), reverse=not fullest_first)
        everybody = len(eligible) == len(self._available)
        for bucket in possible:
            members = list(self._buckets[bucket])
            start = turn % len(members)
            for node_id in (*members[start:], *members[:start]):
                if everybody or node_id in eligible:
                    yield node_id

    def count_lacks(self, requirement: Requirement, eligible: Set[str]) -> Counter[str]:
        """Return of how many nodes each thing is true that keeps the requirement off them."""
        counts = Counter({reason: count for reason, count in self._unavailable.items() if count})
        self._count_mismatches(requirement, counts)
        for bucket, members in self._buckets.items():
            inside = members.keys() & eligible if len(eligible) < len(self._available) else members
            self._count_shortages(requirement, bucket, inside, counts)
        if requirement.host_ports:
            self._count_ports(requirement, eligible, counts)
        return +counts

    def _count_mismatches(self, requirement: Requirement, counts: Counter[str]) -> None:
        total = len(self._available)
        reason = f"runtime {requirement.runtime.value} missing"
        counts[reason] += total - len(self._offering(requirement))
        placement = requirement.placement
        names = [f"label {label} != {text}" for label, text in placement.node_selector.items()]
        names += [describe_unmet(constraint) for constraint in placement.constraints]
        for name, matching in zip(names, self._matching(placement), strict=True):
            counts[name] += total - len(matching)

    def _count_shortages(
        self,
        requirement: Requirement,
        bucket: Bucket,
        inside: Mapping[str, None] | Set[str],
        counts: Counter[str],
    ) -> None:
        rooms = self.rooms
        for resource, wanted in requirement.requests.items():
            dimension = _DIMENSIONS.get(resource)
            size = None if dimension is None else bucket[dimension]
            if size is None or size == wanted.bit_length():
                short = sum(rooms[node_id].free.get(resource, 0) < wanted for node_id in inside)
            else:
                short = len(inside) if size < wanted.bit_length() else 0
            counts[f"insufficient {resource}"] += short

    def _count_ports(self, requirement: Requirement, eligible: Set[str], counts: Counter[str]) -> None:
        for port in requirement.host_ports:
            counts[f"host port {port} in use"] += sum(
                port in self.rooms[node_id].ports for node_id in eligible
            )


def _may_hold(bucket: Bucket, wanted: Bucket) -> bool:
    return bucket[0] >= wanted[0] and bucket[1] >= wanted[1] and bucket[2] >= wanted[2]
