"""Tasks that are submitted all the time, each with a key until it is accepted."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from uuid import uuid4

from tests.faults.programs import Cluster, Ledger

PAUSE_SECONDS = 0.03
MOST_TASKS = 3000


@dataclass
class Load:
    """`accepted`: ids with the moment (monotonic) of each one's 201. `refusals`: the sentences of 503s."""

    cluster: Cluster
    ledger: Ledger
    masters: tuple[str, ...]
    accepted: list[tuple[str, float]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def task_ids(self) -> list[str]:
        return [task_id for task_id, _ in self.accepted]

    def first_after(self, moment: float) -> float | None:
        """Return how long after the moment the next task was accepted."""
        return next((at - moment for _, at in list(self.accepted) if at > moment), None)

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        for master in cycle(self.masters):
            if self._stopping.is_set() or len(self.accepted) >= MOST_TASKS:
                return
            self._submit_one(master, str(uuid4()))
            self._stopping.wait(PAUSE_SECONDS)

    def _submit_one(self, master: str, key: str) -> None:
        """Send the same task until it is accepted: what a lost answer left must be the same task."""
        body = self.ledger.spec("load", idempotencyKey=key)
        while not self._stopping.is_set():
            status, headers, answer = self.cluster.status_of(master, "/api/v1/tasks", body)
            if status in (200, 201):
                self.accepted.append((answer["taskId"], time.monotonic()))
                return
            if status == 503 and headers["Retry-After"]:
                self.refusals.append(answer["error"])
            else:
                self.surprises.append(f"{master}: {status} {answer}")
            self._stopping.wait(PAUSE_SECONDS)


@contextmanager
def load(cluster: Cluster, ledger: Ledger, *masters: str) -> Iterator[Load]:
    """Submit meanwhile, to these masters in turn."""
    running = Load(cluster, ledger, masters)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(60)
