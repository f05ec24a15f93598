"""Looks at the master every half second: its loop's lag, and what it counted in the last minute."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

from podling.core.facts import InboxDepth, ReplicaFacts
from podling.core.task import TERMINAL, TaskStatus
from podling.kit.metrics import (
    Cell,
    Counter,
    Gauge,
    Histogram,
    Instrument,
    Labels,
    gauge,
    process_numbers,
    quantile,
)
from podling.master.context import MasterContext
from podling.master.measures import NEW
from podling.master.queue_rates import SNAPSHOT_SECONDS, WINDOW_SECONDS, QueueRates
from podling.master.sessions.registry import Sessions
from podling.store.base import PendingCounts
from podling.wire.codec import rfc3339

LOOK_SECONDS = 0.5
COUNT_SECONDS = 15.0
MOST_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class _Snapshot:
    at: float
    moves: Mapping[tuple[str, ...], float]
    requests: int
    beats: float
    histograms: Mapping[str, list[int]]


class Sampler:
    """`run` it while the master works. What tasks wait is asked of the store now and then, up to a bound."""

    def __init__(self, context: MasterContext, sessions: Sessions) -> None:
        self._context = context
        self._sessions = sessions
        self._snapshots: deque[_Snapshot] = deque()
        self._expected_at: float | None = None
        self._counted_at: float | None = None
        self.pending = PendingCounts()
        self.inbox = InboxDepth()
        self.queues = QueueRates(context)
        measures = context.measures
        self._histograms = {
            "scheduleSeconds": measures.schedule,
            "startSeconds": measures.start,
            "endSeconds": measures.end,
            "requestSeconds": measures.requests,
            "loopLagSeconds": measures.lag,
        }

    async def run_once(self) -> float | None:
        """Look once. Raises StoreUnavailable."""
        now = asyncio.get_running_loop().time()
        if self._expected_at is not None:
            self._context.measures.lag.observe(max(now - self._expected_at, 0.0))
        if not self._snapshots or now - self._snapshots[-1].at >= SNAPSHOT_SECONDS:
            self._snapshots.append(self._snapshot(now))
            while now - self._snapshots[0].at > WINDOW_SECONDS + SNAPSHOT_SECONDS:
                self._snapshots.popleft()
        self._expected_at = None
        if self._counted_at is None or now - self._counted_at >= COUNT_SECONDS:
            self._counted_at = now
            self.pending = await self._context.store.count_pending(MOST_COUNTED)
            self.inbox = await self._context.store.inbox.depth(MOST_COUNTED)
            await self._context.tally.count()
        await self.queues.look(now)
        self._expected_at = asyncio.get_running_loop().time() + LOOK_SECONDS
        return LOOK_SECONDS

    def instruments(self) -> list[Instrument]:
        """Return everything that there is to see of this master."""
        return [
            *self._context.measures.instruments(),
            *self._gauges(),
            *_of_replica(self._context.store.replica),
        ]

    def _gauges(self) -> list[Gauge]:
        context = self._context
        return [
            Gauge("podling_tasks", "Tasks that have not ended.", _keyed(self._states()), ("status",)),
            Gauge("podling_pending_tasks", "Pending tasks, up to 100,000 of each kind.",
                  _keyed(self._waiting()), ("kind",)),
            gauge("podling_inbox_items", "What came by SQL and was not taken in yet, up to 100,000.",
                  self.inbox.items),
            gauge("podling_inbox_oldest_seconds", "How long the oldest of it has waited.",
                  self.inbox.oldest_seconds or 0.0),
            *self.queues.gauges(asyncio.get_running_loop().time()),
            Gauge("podling_progressing_tasks", "Tasks on nodes that say how far they are, by quarters done.",
                  _keyed(self._progress()), ("percent",)),
            Gauge("podling_nodes", "Nodes on record.", _keyed(self._nodes()), ("state",)),
            gauge("podling_sessions", "Workers that are connected here.", len(self._sessions.all())),
            gauge("podling_masters_alive", "Masters whose beats are seen here, itself among them.",
                  sum(master.alive for master in context.masters.values())),
            gauge("podling_leader", "1 if this master leads.", int(context.leads)),
            gauge("podling_leader_epoch", "The epoch in which it leads, else 0.", context.epoch or 0),
            gauge("podling_event_readers", "Readers of events.", context.events.readers),
            gauge("podling_asyncio_tasks", "Tasks of the event loop.", len(asyncio.all_tasks())),
        ]  # fmt: skip

    def _states(self) -> dict[str, int]:
        counts = self._context.tally.counts()
        return {status.value: count for status, count in counts.items() if status not in TERMINAL}

    def _waiting(self) -> dict[str, int]:
        pending = self.pending
        return {
            "ready": pending.ready,
            "blocked": pending.blocked,
            "lined": pending.lined,
            "later": pending.later,
        }

    def _progress(self) -> dict[str, int]:
        """Return how many have done a quarter, a half … of their work."""
        quarters = [int(task.progress or 0) // 25 * 25 for task in self._context.view.progressing()]
        return {str(percent): quarters.count(percent) for percent in range(0, 101, 25)}

    def _nodes(self) -> dict[str, int]:
        nodes = self._context.view.nodes()
        online = sum(node.is_online for node in nodes)
        return {
            "online": online,
            "offline": len(nodes) - online,
            "cordoned": sum(node.cordoned for node in nodes),
            "unhealthy": sum(node.unhealthy is not None for node in nodes),
        }

    def overview(self) -> dict[str, Any]:
        """Return the same for people and small programs: as it is, and the last minute."""
        context = self._context
        now = self._snapshot(asyncio.get_running_loop().time())
        then = next((item for item in self._snapshots if now.at - item.at <= WINDOW_SECONDS), now)
        process = process_numbers()
        return {
            "at": rfc3339(context.clock.now()),
            "masterId": context.options.master_id,
            "leader": context.leads,
            "epoch": context.epoch,
            "windowSeconds": round(now.at - then.at, 3),
            "tasks": self._states(),
            "pending": self._waiting(),
            "inbox": {"items": self.inbox.items, "oldestSeconds": self.inbox.oldest_seconds},
            "queues": self.queues.overview(now.at),
            "depthsAreWhole": self.queues.depths.whole,
            "nodes": self._nodes(),
            "sessions": len(self._sessions.all()),
            "eventReaders": context.events.readers,
            "asyncioTasks": len(asyncio.all_tasks()),
            "residentBytes": process.get("process_resident_memory_bytes"),
            "openDescriptors": process.get("process_open_fds"),
            "rates": _rates(then, now),
            "latencies": {
                name: _quantiles(histogram, _less(now.histograms[name], then.histograms[name]))
                for name, histogram in self._all_histograms().items()
            },
        }

    def _snapshot(self, at: float) -> _Snapshot:
        measures = self._context.measures
        return _Snapshot(
            at=at,
            moves=dict(measures.transitions.values),
            requests=sum(measures.requests.counts()),
            beats=sum(measures.beats.values.values()),
            histograms={name: part.counts() for name, part in self._all_histograms().items()},
        )

    def _all_histograms(self) -> dict[str, Histogram]:
        store = self._context.measures.store
        commits: dict[Labels, Cell] = {
            texts: cell for texts, cell in store.cells.items() if texts == ("commit",)
        }
        return self._histograms | {"commitSeconds": Histogram(store.name, store.help, cells=commits)}


def _of_replica(replica: ReplicaFacts | None) -> list[Instrument]:
    if replica is None:
        return []
    lag = nan if replica.lag_seconds is None else replica.lag_seconds
    fallbacks: dict[Labels, float] = {(): float(replica.fallbacks)}
    return [
        gauge("podling_read_replica_up", "1 if lists are read from it.", int(replica.problem is None)),
        gauge("podling_read_replica_lag_seconds", "How far the replica is behind.", lag),
        Counter("podling_read_replica_fallbacks", "Lists that the primary gave instead.", values=fallbacks),
    ]


def _keyed(numbers: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(name,): float(number) for name, number in numbers.items()}


def _rates(then: _Snapshot, now: _Snapshot) -> dict[str, float]:
    """Return how many a second, over the time between the two."""
    seconds = now.at - then.at
    ends = {status.value: 0.0 for status in (TaskStatus.SCHEDULED, TaskStatus.RUNNING, *TERMINAL)}
    counts = {
        "submitted": 0.0,
        **ends,
        "requests": now.requests - then.requests,
        "beats": now.beats - then.beats,
    }
    for move, count in now.moves.items():
        name = "submitted" if move[0] == NEW else move[1]
        if name in counts:
            counts[name] += count - then.moves.get(move, 0.0)
    return {name: round(count / seconds, 3) if seconds else 0.0 for name, count in counts.items()}


def _less(now: list[int], then: list[int]) -> list[int]:
    return [after - before for after, before in zip(now, then or [0] * len(now), strict=True)]


def _quantiles(histogram: Histogram, counts: list[int]) -> dict[str, float | int | None]:
    found = {name: quantile(histogram.bounds, counts, share) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {"count": sum(counts)} | {
        name: None if number is None else round(number, 6) for name, number in found.items()
    }
