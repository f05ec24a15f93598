"""What a worker counts, and how Prometheus reads it at the worker's own port."""

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from podling.core.protocol import HeldState
from podling.core.task import ContainerStatus
from podling.kit.metrics import Gauge, Instrument, exposition, gauge
from podling.worker.shell import Shell


@runtime_checkable
class Measured(Protocol):
    """A part of the worker that counts something."""

    def instruments(self) -> Sequence[Instrument]: ...


def worker_metrics(shell: Shell, *parts: object) -> bytes:
    """Return what the worker, its runtimes and these parts count."""
    counted = [part for part in (*shell.runtimes.values(), *parts) if isinstance(part, Measured)]
    return exposition([*_gauges(shell), *(found for part in counted for found in part.instruments())])


def _gauges(shell: Shell) -> Sequence[Gauge]:
    attempts = shell.state.attempts.values()
    held = Tally(attempt.state.value for attempt in attempts)
    running = sum(
        container.state.status is ContainerStatus.RUNNING
        for attempt in attempts
        for container in attempt.containers
    )
    states: dict[tuple[str, ...], float] = {(state.value,): float(held[state.value]) for state in HeldState}
    return [
        Gauge("podling_worker_attempts", "Attempts that the worker holds.", states, ("state",)),
        gauge("podling_worker_containers_running", "Containers and processes that run.", running),
        gauge("podling_worker_asyncio_tasks", "Tasks of the event loop.", len(asyncio.all_tasks())),
    ]
