"""What a master counts. It counts its own work: what all masters counted adds up to the cluster's."""

import time
from collections.abc import Sequence

from podling.core.task import Task, TaskStatus
from podling.kit.metrics import LONG_SECONDS, Counter, Histogram, Instrument
from podling.master.committer import Applied

BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
LAGS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
PLANS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
NEW = "new"


class Measures:
    """Fed from the hot path, once per batch where it can be."""

    def __init__(self) -> None:
        self.transitions = Counter(
            "podling_task_transitions", "Moves of tasks that this master committed.", ("before", "after")
        )
        self.schedule = Histogram(
            "podling_task_schedule_seconds", "From when a task was due until it had a node.", (), LONG_SECONDS
        )
        self.start = Histogram(
            "podling_task_start_seconds", "From having a node until running.", (), LONG_SECONDS
        )
        self.end = Histogram(
            "podling_task_end_seconds", "From submit to the end for good.", ("status",), LONG_SECONDS
        )
        self.batch = Histogram("podling_commit_batch_tasks", "Tasks in one commit.", (), BATCH_SIZES)
        self.store = Histogram("podling_store_call_seconds", "Calls of the store, by name.", ("call",))
        self.store_failures = Counter(
            "podling_store_call_failures", "Calls of the store that failed.", ("call",)
        )
        self.passes = Histogram("podling_loop_pass_seconds", "Passes of control loops.", ("loop",))
        self.plans = Histogram("podling_plan_seconds", "Planning one page of ready tasks.", (), PLANS)
        self.pass_failures = Counter(
            "podling_loop_pass_failures", "Passes of control loops that failed.", ("loop",)
        )
        self.requests = Histogram(
            "podling_http_request_seconds", "Requests by route; streams are not among them.",
            ("method", "route", "status"),
        )  # fmt: skip
        self.streams = Counter("podling_http_streams", "Streams and sessions that have ended.", ("route",))
        self.checkpoints = Counter("podling_checkpoints", "Checkpoints that tasks saved at this master.")
        self.beats = Counter("podling_beats", "Beats of workers that this master wrote.")
        self.lag = Histogram("podling_loop_lag_seconds", "How late the event loop was.", (), LAGS)

    def instruments(self) -> list[Instrument]:
        return [part for part in vars(self).values() if isinstance(part, Counter | Histogram)]

    def committed(self, applied: Sequence[Applied]) -> None:
        """Count the moves of one commit, in runs of equal ones: states are compared, never hashed."""
        run: list[Task] = []
        last: tuple[TaskStatus | None, TaskStatus | None] = (None, None)
        for change in applied:
            before = None if change.before is None else change.before.status
            after = change.after.status
            if before is not last[0] or after is not last[1]:
                self._count(*last, run)
                run, last = [], (before, after)
            run.append(change.after)
        self._count(*last, run)

    def _count(self, before: TaskStatus | None, after: TaskStatus | None, tasks: Sequence[Task]) -> None:
        if after is None or before is after:
            return
        self.transitions.add(NEW if before is None else before.value, after.value, by=len(tasks))
        if after is TaskStatus.SCHEDULED:
            self.schedule.observe_all(
                (task.scheduled_at - max(task.created_at, task.run_at)).total_seconds()
                for task in tasks
                if task.scheduled_at is not None
            )
        elif before is TaskStatus.SCHEDULED:
            self.start.observe_all(
                (task.started_at - task.scheduled_at).total_seconds()
                for task in tasks
                if task.started_at is not None and task.scheduled_at is not None
            )
        if after.is_terminal:
            self.end.observe_all(
                (
                    (task.finished_at - task.created_at).total_seconds()
                    for task in tasks
                    if task.finished_at is not None
                ),
                after.value,
            )

    def called(self, call: str, began: float, failed: bool) -> None:
        """Count a call of the store that began at this reading of `time.perf_counter`."""
        self.store.observe(time.perf_counter() - began, call)
        if failed:
            self.store_failures.add(call)

    def passed(self, loop: str, seconds: float, failed: bool) -> None:
        """Count a pass of a loop."""
        self.passes.observe(seconds, loop)
        if failed:
            self.pass_failures.add(loop)
