"""When containers were removed, by the engine's own events: one clock for everybody who makes some."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import docker


@dataclass(frozen=True)
class Removals:
    """The removals of some containers, begun at `begin`; times are seconds of the wall clock."""

    begin: float
    times: Sequence[float]

    def rate(self) -> float:
        """Return the containers a second from the beginning to the last removal."""
        return len(self.times) / (max(self.times) - self.begin)

    def steady_rate(self, edge: int) -> float:
        """Return the containers a second between the first and the last `edge` of them.

        So neither the start, where the first ones are made, nor the end, where places stay empty, counts.
        """
        inner = sorted(self.times)[edge - 1 : -edge]
        return (len(inner) - 1) / (inner[-1] - inner[0])


@contextmanager
def watching(engine: docker.DockerClient, label: str) -> Iterator[Iterator[float]]:
    """Yield the times at which containers with the label are removed from now on, as they are."""
    filters = {"type": "container", "event": "destroy", "label": label}
    events = engine.events(decode=True, filters=filters)
    try:
        yield (event["timeNano"] / 1e9 for event in events)
    finally:
        events.close()


def first(times: Iterator[float], count: int) -> list[float]:
    """Wait for as many."""
    return list(islice(times, count))
