"""What is free on one node: counted down by what takes it, counted up by what gives it back."""

from collections.abc import Mapping

from podling.core.placement import UNLIMITED, Requirement
from podling.core.spec import CPU, MEMORY, SLOTS

Bucket = tuple[int, int, int]


class Room:
    """`free` may be negative when a node shrank below what runs on it."""

    __slots__ = ("free", "ports")

    def __init__(self, free: dict[str, int], ports: dict[str, int]) -> None:
        self.free = free
        self.ports = ports

    @classmethod
    def of(cls, allocatable: Mapping[str, int]) -> "Room":
        """Return the room of an empty node; one that names no slots has no bound on them."""
        return cls({SLOTS: UNLIMITED, **allocatable}, {})

    def copy(self) -> "Room":
        return Room(self.free.copy(), self.ports.copy())

    def fits(self, requirement: Requirement) -> bool:
        free = self.free
        for resource, wanted in requirement.requests.items():
            if free.get(resource, 0) < wanted:
                return False
        return not requirement.host_ports or self.ports.keys().isdisjoint(requirement.host_ports)

    def times(self, requirement: Requirement) -> int:
        """Return how many of the kind fit; a host port is there only once."""
        if not self.fits(requirement):
            return 0
        if requirement.host_ports:
            return 1
        shares = [self.free.get(name, 0) // wanted for name, wanted in requirement.requests.items() if wanted]
        return min(shares, default=UNLIMITED)

    def take(self, requirement: Requirement) -> None:
        for resource, amount in requirement.requests.items():
            self.free[resource] = self.free.get(resource, 0) - amount
        for port in requirement.host_ports:
            self.ports[port] = self.ports.get(port, 0) + 1

    def give(self, requirement: Requirement) -> None:
        for resource, amount in requirement.requests.items():
            self.free[resource] = self.free.get(resource, 0) + amount
        for port in requirement.host_ports:
            self.ports[port] -= 1
            if not self.ports[port]:
                del self.ports[port]

    def bucket(self) -> Bucket:
        """Return the sizes of what is free, each to a power of two."""
        return bucket_of(self.free)


def bucket_of(amounts: Mapping[str, int]) -> Bucket:
    """Return the amounts of slots, CPU and memory, each as its number of binary digits."""
    get = amounts.get
    return (
        max(get(SLOTS, 0), 0).bit_length(),
        max(get(CPU, 0), 0).bit_length(),
        max(get(MEMORY, 0), 0).bit_length(),
    )
