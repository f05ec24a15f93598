"""Counters and histograms that cost next to nothing where they are fed, and how Prometheus reads them.

They are plain numbers without locks: each is fed by one thread. The library only writes them down.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


@dataclass(slots=True)
class Counter:
    """`values` by the texts of `labels`, of which there are few."""

    name: str
    help: str
    labels: Labels = ()
    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, *texts: str, by: float = 1.0) -> None:
        self.values[texts] = self.values.get(texts, 0.0) + by

    def family(self) -> Metric:
        found = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for texts, number in list(self.values.items()):
            found.add_metric(texts, number)
        return found


@dataclass(frozen=True, slots=True)
class Gauge:
    """Numbers as they are now."""

    name: str
    help: str
    values: Mapping[Labels, float]
    labels: Labels = ()

    def family(self) -> Metric:
        found = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for texts, number in self.values.items():
            found.add_metric(texts, number)
        return found


def gauge(name: str, help_: str, number: float) -> Gauge:
    """Return a gauge without labels."""
    return Gauge(name, help_, {(): number})


@dataclass(slots=True)
class Cell:
    """How many numbers lie at or below each bound but above the one before; the last has no bound."""

    counts: list[int]
    total: float = 0.0


@dataclass(slots=True)
class Histogram:
    """`cells` by the texts of `labels`, of which there are few."""

    name: str
    help: str
    labels: Labels = ()
    bounds: Sequence[float] = SECONDS
    cells: dict[Labels, Cell] = field(default_factory=dict)

    def observe(self, number: float, *texts: str) -> None:
        self.observe_all((number,), *texts)

    def observe_all(self, numbers: Iterable[float], *texts: str) -> None:
        """Take in many at once; below zero, as between two machines' clocks, counts as zero."""
        cell = self.cells.get(texts)
        if cell is None:
            cell = self.cells[texts] = Cell([0] * (len(self.bounds) + 1))
        counts, bounds = cell.counts, self.bounds
        for number in numbers:
            counts[bisect_left(bounds, number)] += 1
            if number > 0:
                cell.total += number

    def counts(self) -> list[int]:
        """Return how many lie in each stretch, whatever the labels."""
        return [sum(parts) for parts in zip(*(cell.counts for cell in self.cells.values()), strict=True)]

    def family(self) -> Metric:
        found = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for texts, cell in list(self.cells.items()):
            found.add_metric(texts, list(_cumulated(self.bounds, cell.counts)), cell.total)
        return found


Instrument = Counter | Gauge | Histogram


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> Iterator[tuple[str, float]]:
    below = 0
    for bound, count in zip((*bounds, inf), counts, strict=True):
        below += count
        yield ("+Inf" if bound == inf else f"{bound:g}"), below


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return below which number this share lies, as near as the bounds tell; None if there is nothing."""
    wanted, below, lower = share * sum(counts), 0, 0.0
    if not wanted:
        return None
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= wanted:
            return lower + (bound - lower) * (wanted - below) / count
        below, lower = below + count, bound
    return lower


class _Once(Collector):
    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[Metric]:
        return (instrument.family() for instrument in self._instruments)


_process = CollectorRegistry()
ProcessCollector(registry=_process)


def exposition(instruments: Iterable[Instrument]) -> bytes:
    """Return the instruments, and what this process holds of the machine, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Once(tuple(instruments)))
    return generate_latest(registry) + generate_latest(_process)


def process_numbers() -> dict[str, float]:
    """Return what this process holds, by the names that Prometheus gives it."""
    return {sample.name: sample.value for metric in _process.collect() for sample in metric.samples}
