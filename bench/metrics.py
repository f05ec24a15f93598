"""Reads what a master tells at /metrics, and what lies between two readings."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from podling.kit.metrics import quantile

Labels = frozenset[tuple[str, str]]


class Reading:
    """Every sample of one answer, by its name and labels."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that bear these labels."""
        return sum(number for borne, number in self._samples.get(name, ()) if labels.items() <= borne.items())

    def below(self, name: str, **labels: str) -> dict[float, float]:
        """Return how many observations of a histogram lie at or below each of its bounds."""
        found: dict[float, float] = {}
        for borne, number in self._samples.get(f"{name}_bucket", ()):
            if labels.items() <= borne.items():
                bound = float(borne["le"])
                found[bound] = found.get(bound, 0.0) + number
        return found


def quantile_between(before: Reading, after: Reading, share: float, name: str, **labels: str) -> float:
    """Return below which number this share of what was observed in between lies; NaN without any."""
    then, now = before.below(name, **labels), after.below(name, **labels)
    bounds = sorted(now)
    counts, below = [], 0.0
    for bound in bounds:
        until = now[bound] - then.get(bound, 0.0)
        counts.append(round(until - below))
        below = until
    found = quantile(bounds, counts, share) if counts else None
    return float("nan") if found is None else found
