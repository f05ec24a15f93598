"""What has really run: each start and end of a container, written by the machine it ran on."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_LATEST = 12  # runs that still speak


@dataclass(eq=False, slots=True)
class Run:
    """From one start of a container to its end."""

    task_id: str
    attempt: int
    container: str
    container_id: str
    node_id: str
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None

    def __str__(self) -> str:
        end = "runs" if self.ended_at is None else f"ended {self.ended_at:.3f} with {self.exit_code}"
        where = f"{self.task_id}/{self.attempt}/{self.container} on {self.node_id}"
        return f"{where} (started {self.started_at:.3f}, {end})"


class Ledger:
    def __init__(self) -> None:
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._watcher: Callable[[Run], None] = lambda run: None
        self.starts = 0
        self.latest: deque[Run] = deque(maxlen=MOST_LATEST)

    def watch(self, watcher: Callable[[Run], None]) -> None:
        """Have it told of each start."""
        self._watcher = watcher

    def start(self, run: Run) -> Run:
        self.starts += 1
        self._runs[run.task_id].append(run)
        self.latest.append(run)
        self._watcher(run)
        return run

    def of(self, task_id: str) -> list[Run]:
        return self._runs[task_id]

    def running(self, task_id: str, attempt: int) -> list[Run]:
        return [run for run in self._runs[task_id] if run.attempt == attempt and run.ended_at is None]
