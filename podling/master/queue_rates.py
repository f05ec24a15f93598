"""The last minute of each queue: for Prometheus, for people and small programs."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from podling.core.queue import ALL_QUEUES
from podling.kit.metrics import Gauge
from podling.master.context import MasterContext
from podling.master.queue_counts import QueueCount, total
from podling.store.ports.lines import Depths

WINDOW_SECONDS = 60.0
SNAPSHOT_SECONDS = 5.0
MOST_IN_DEPTHS = 10_000  # of a kind; each costs a look-up
MOST_SHOWN = 500

Numbers = Mapping[str, float]


class QueueRates:
    """`look` now and then. Times are seconds of a clock that nobody sets.

    Queues of which an operator has said something are always shown, others while there is something to show.
    """

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._snapshots: deque[tuple[float, dict[str, QueueCount]]] = deque()
        self.depths = Depths(queues={})

    async def look(self, now: float) -> None:
        """Remember what was counted until now, and count what waits. Raises StoreUnavailable."""
        if self._snapshots and now - self._snapshots[-1][0] < SNAPSHOT_SECONDS:
            return
        self._remember(now)
        self.depths = await self._context.store.lines.depths(MOST_IN_DEPTHS)

    def _remember(self, now: float) -> None:
        counts = self._context.queue_counts.snapshot()
        self._snapshots.append((now, counts))
        while now - self._snapshots[0][0] > WINDOW_SECONDS + SNAPSHOT_SECONDS:
            self._snapshots.popleft()
        at, first = self._snapshots[0]
        if now - at >= WINDOW_SECONDS:
            self._forget([queue for queue, count in counts.items() if first.get(queue) == count])

    def _forget(self, idle: list[str]) -> None:
        for queue in idle:
            self._context.queue_counts.forget(queue)
            for _, counts in self._snapshots:
                counts.pop(queue, None)

    def gauges(self, now: float) -> list[Gauge]:
        """Return them with so few labels that Prometheus can keep them."""
        _, counts = self._last_minute(now)
        succeeded = {queue: float(count.succeeded) for queue, count in counts.items()}
        failed = {queue: float(count.failed) for queue, count in counts.items()}
        return [
            self._gauge("running_tasks", "Tasks on nodes.", self._running()),
            self._gauge("depth", "Tasks that are due and wait, as last counted.", self._depths()),
            self._gauge("succeeded_last_minute", "Tasks that completed at any master.", succeeded),
            self._gauge("failed_last_minute", "Tasks that failed for good at any master.", failed),
        ]

    def _gauge(self, name: str, help_: str, numbers: Numbers) -> Gauge:
        labelled = self._context.queue_counts.labelled(numbers, self._context.queues.policies)
        return Gauge(f"podling_queue_{name}", help_, labelled, ("queue",))

    def overview(self, now: float) -> dict[str, dict[str, Any]]:
        """Return each queue's numbers; a share of nothing is None."""
        seconds, counts = self._last_minute(now)
        running, depths = self._running(), self._depths()
        return {
            queue: {"running": int(running.get(queue, 0)), "depth": int(depths.get(queue, 0))}
            | _rates(counts.get(queue) or QueueCount(), seconds)
            for queue in self._shown(running, depths, counts)
        }

    def _shown(self, running: Numbers, depths: Numbers, counts: Mapping[str, QueueCount]) -> list[str]:
        def business(queue: str) -> float:
            ended = counts[queue].attempts + counts[queue].cancelled if queue in counts else 0
            return running.get(queue, 0) + depths.get(queue, 0) + ended

        busy = [queue for queue in {*running, *depths, *counts} if business(queue)]
        ranked = sorted(busy, key=lambda queue: (-business(queue), queue))
        return sorted({*ranked[:MOST_SHOWN], *self._context.queues.policies})

    def _running(self) -> Numbers:
        flight = self._context.view.flight
        named = {queue: flight.of(queue) for queue in self._context.queues.policies}
        return {**flight.queues, **named}

    def _depths(self) -> Numbers:
        waiting = self.depths.queues
        named = dict.fromkeys(self._context.queues.policies, 0)
        every = {ALL_QUEUES: sum(waiting.values())} if ALL_QUEUES in named else {}
        return {**named, **waiting, **every}

    def _last_minute(self, now: float) -> tuple[float, Mapping[str, QueueCount]]:
        """Return how many seconds that is, as far as this master knows, and what was counted."""
        found = next(((at, then) for at, then in self._snapshots if now - at <= WINDOW_SECONDS), None)
        if found is None:
            return 0.0, {}
        at, then = found
        counts = self._context.queue_counts.snapshot()
        lately = {queue: count.less(then.get(queue)) for queue, count in counts.items()}
        if ALL_QUEUES in self._context.queues.policies:
            lately[ALL_QUEUES] = total(lately.values())
        return now - at, lately


def _rates(count: QueueCount, seconds: float) -> dict[str, Any]:
    ended = count.succeeded + count.failed
    return {
        "tasksPerSecond": round(ended / seconds, 3) if seconds else 0.0,
        "succeeded": count.succeeded,
        "failed": count.failed,
        "cancelled": count.cancelled,
        "retried": count.returned,
        "successRate": _share(count.succeeded, ended),
        "retryRate": _share(count.returned, count.attempts),
        "meanLatencySeconds": round(count.seconds / count.timed, 6) if count.timed else None,
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
