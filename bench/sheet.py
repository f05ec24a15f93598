"""What `make bench` measures, and what each figure must reach."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A key of the result, and the number that it must not fall below, or exceed."""

    key: str
    number: float
    is_ceiling: bool = False

    def is_met(self, measured: float) -> bool:
        return measured <= self.number if self.is_ceiling else measured >= self.number

    def __str__(self) -> str:
        return f"{'≤' if self.is_ceiling else '≥'} {self.number:g}"


@dataclass(frozen=True)
class Entry:
    """One scenario on one store."""

    scenario: str
    store: str
    bars: tuple[Bar, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.scenario} {self.store}"


def _at_most(key: str, number: float) -> Bar:
    return Bar(key, number, is_ceiling=True)


_LAG = _at_most("lag_ms_p99", 10)

ENTRIES = (
    Entry("lifecycle", "postgres", (Bar("rate", 3_000), _LAG)),
    Entry("lifecycle", "memory", (Bar("rate", 5_000), _LAG)),
    Entry("submit", "postgres", (Bar("rate", 3_000), _at_most("p99_ms", 25), _LAG)),
    Entry("submit", "memory", (Bar("rate", 6_500), _LAG)),
    Entry("batch", "postgres", (Bar("rate", 15_000), _LAG)),
    Entry("processes", "postgres", (Bar("rate", 800), _LAG)),
    Entry("functions", "postgres", (Bar("ratio_pgqueuer", 0.6), Bar("ratio_procrastinate", 5), _LAG)),
    Entry("idle", "postgres", (_at_most("p50_ms", 4), _at_most("p95_ms", 8))),
    Entry("nodes", "postgres", (_at_most("missed_beats", 0), _at_most("plan_ms_p99", 50), _LAG)),
    Entry("backlog", "postgres", (Bar("ratio", 0.8), _LAG)),
    Entry("slow_commit", "postgres", (Bar("ratio", 0.5), _LAG)),
    Entry("blocked", "postgres", (_at_most("start_ms_p99", 100), _LAG)),
    Entry("memory", "postgres", (_at_most("idle_mb", 100), _at_most("session_kb", 30))),
    Entry("containers", "postgres", (Bar("ratio", 0.97),)),
    Entry(
        "latency",
        "postgres",
        (_at_most("start_over_raw_ms_p50", 10), _at_most("start_over_raw_ms_p99", 40)),
    ),
    Entry("adoption", "postgres", (_at_most("seconds", 5),)),
    Entry("locks", "postgres", (Bar("ratio", 0.5),)),
    Entry("growth", "postgres"),
    Entry("peers", "postgres"),
    Entry("swarm", "postgres"),
)


def find(scenario: str, store: str) -> Entry:
    """Return the entry, one without bars if that store is not on the sheet."""
    for entry in ENTRIES:
        if (entry.scenario, entry.store) == (scenario, store):
            return entry
    return Entry(scenario, store)


def scenarios() -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.scenario for entry in ENTRIES))
