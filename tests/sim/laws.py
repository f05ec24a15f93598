"""The laws of docs/laws.md, watched in everything that the database commits and machines run."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podling.core.lifecycle import TABLE
from podling.core.placement import requirement_of
from podling.core.spec import Delivery, OnDisconnect
from podling.core.task import Attempt, AttemptStatus, Task, TaskStatus
from podling.store.base import Batch, Beat, Store, WriteResult, WriteStatus
from tests.sim.ledger import Ledger, Run
from tests.sim.loop import run_at_once
from tests.sim.story import Story

_MOVES = {
    (source, target) for move in TABLE.values() for source in move.sources for target in move.targets
} | {(status, status) for status in TaskStatus}
_SLACK = 1e-6


class Laws:
    """`excuses(node_id)` says whether the node's agent was dead or stopped so lately that it could
    not keep its lease; the one case in which two attempts may overlap."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        story: Story,
        now: Callable[[], float],
        lease_seconds: float,
        excuses: Callable[[str], bool],
    ) -> None:
        self._store: Any = store
        self._ledger = ledger
        self._story = story
        self._now = now
        self._lease = lease_seconds
        self._excuses = excuses
        self._epoch = 0
        self._led_since = 0.0
        self._counters: dict[str, tuple[int, float]] = {}
        self._live_on: dict[str, dict[str, Task]] = defaultdict(dict)
        self.allocatable: dict[str, Mapping[str, int]] = {}
        self.keys: dict[str, str] = {}  # the task of each idempotency key
        self.overlaps = 0
        self.commits = 0
        ledger.watch(self._started)

    # The database

    def observe(
        self, host: str, name: str, arguments: tuple[Any, ...], before: Mapping[str, Task], answer: Any
    ) -> None:
        """Check what a call that took effect has changed."""
        match name:
            case "commit":
                self._committed(host, arguments[0], before, answer)
            case "take_leadership" | "renew_leadership" | "resign_leadership":
                self._led()
            case "open_session" | "save_node" | "beat":
                self._beats()
            case "mark_lost" if answer:
                self._marked(arguments[0], arguments[2])

    def _led(self) -> None:
        epoch = run_at_once(self._store.leadership()).epoch
        if epoch < self._epoch:
            self._story.violation("I22", f"the epoch fell from {self._epoch} to {epoch}")
        if epoch > self._epoch:
            self._epoch, self._led_since = epoch, self._now()

    def _beats(self) -> None:
        beats: Sequence[Beat] = run_at_once(self._store.load_beats())
        for beat in beats:
            if self._counters.get(beat.node_id, (-1, 0.0))[0] != beat.counter:
                self._counters[beat.node_id] = (beat.counter, self._now())

    def _marked(self, node_id: str, epoch: int) -> None:
        silent = self._now() - self._counters[node_id][1]
        if silent < self._lease - _SLACK:
            self._story.violation("I9", f"{node_id} was declared lost {silent:.3f} s after a beat")
        if self._now() - self._led_since < self._lease - _SLACK:
            self._story.violation("I25", f"{node_id} was declared lost by a leader of less than a lease")
        if epoch != self._epoch:
            self._story.violation("I21", f"epoch {epoch} declared {node_id} lost, but {self._epoch} leads")

    def _committed(
        self, host: str, batch: Batch, before: Mapping[str, Task], answer: Sequence[WriteResult]
    ) -> None:
        self.commits += 1
        if len(answer) != len(batch.tasks):
            return  # only to have its number used up: it had been written before
        for write, result in zip(batch.tasks, answer, strict=True):
            if result.status is not WriteStatus.APPLIED:
                continue
            known, task = before.get(write.task.task_id), write.task
            if known is not None and known.version >= task.version:
                continue  # a batch that was repeated: its first answer again
            self._story.tell(
                "commit",
                host=host,
                task=task.task_id,
                status=task.status.value,
                attempt=task.attempt,
                node=task.node_id,
                held=task.held is not None,
                stop=task.stop_reason and task.stop_reason.value,
            )
            self._moved(batch, known, task)
            self._account(known, task)
            if write.attempts:
                self._check_attempts(task)

    def _moved(self, batch: Batch, known: Task | None, task: Task) -> None:
        if known is None:
            return
        name = f"{task.task_id} {known.status.value} -> {task.status.value}"
        if known.status.is_terminal:
            self._story.violation("I4", f"{name}: it had ended")
        if (known.status, task.status) not in _MOVES:
            self._story.violation("I5", f"{name}: the table has no such move")
        if task.attempt not in (known.attempt, known.attempt + 1):
            self._story.violation("I7", f"{name}: attempt {known.attempt} -> {task.attempt}")
        if task.attempt > known.attempt:
            self._assigned(batch, known, task)
        if known.status.is_live and not (task.status.is_live and task.attempt == known.attempt):
            self._given_up(batch, known, task)
        if task.failures > task.spec.max_attempts or task.losses > task.spec.max_losses + 1:
            self._story.violation("I12", f"{name}: {task.failures} failures, {task.losses} losses")

    def _assigned(self, batch: Batch, known: Task, task: Task) -> None:
        if batch.epoch is None or batch.epoch != self._epoch:
            self._story.violation("I21", f"{task.task_id} assigned under {batch.epoch}, not {self._epoch}")
        if known.stop_reason is not None:
            self._story.violation("I13", f"{task.task_id} assigned after {known.stop_reason.value}")
        if known.status.is_live:
            self._story.violation("I6", f"{task.task_id} assigned while attempt {known.attempt} was live")

    def _given_up(self, batch: Batch, known: Task, task: Task) -> None:
        """I17: the leader takes an attempt from its node only when that node has stopped it."""
        rows = run_at_once(self._store.load_attempts(task.task_id))
        row = next(row for row in rows if row.attempt == known.attempt)
        if batch.epoch is None or row.status is not AttemptStatus.LOST:
            return
        if task.spec.on_disconnect is OnDisconnect.KEEP or known.held is not None:
            return
        for run in self._ledger.running(task.task_id, known.attempt):
            if not self._excuses(run.node_id):
                self._story.violation("I17", f"{run} runs on although its node was declared lost")

    def _account(self, known: Task | None, task: Task) -> None:
        if known is not None and known.node_id is not None:
            self._live_on[known.node_id].pop(task.task_id, None)
        if not task.status.is_live or task.node_id is None:
            return
        self._live_on[task.node_id][task.task_id] = task
        used: dict[str, int] = defaultdict(int)
        for one in self._live_on[task.node_id].values():
            for resource, amount in requirement_of(one.spec).requests.items():
                used[resource] += amount
        for resource, amount in used.items():
            if amount > self.allocatable[task.node_id].get(resource, 0):
                self._story.violation("I38", f"{task.node_id} has {amount} of {resource} in use")

    def _check_attempts(self, task: Task) -> None:
        rows: Sequence[Attempt] = run_at_once(self._store.load_attempts(task.task_id))
        live = [row for row in rows if row.status in (AttemptStatus.SCHEDULED, AttemptStatus.RUNNING)]
        if [row.attempt for row in rows] != list(range(1, len(rows) + 1)):
            self._story.violation("I7", f"{task.task_id} has the attempts {[row.attempt for row in rows]}")
        if len(live) != int(task.status.is_live) or any(row.attempt != task.attempt for row in live):
            name = f"{task.task_id} is {task.status.value}"
            self._story.violation("I6", f"{name} with {len(live)} live attempts")

    # Clients

    def accepted(self, key: str, task_id: str) -> None:
        """A client got this task's id for its key."""
        if self.keys.setdefault(key, task_id) != task_id:
            self._story.violation("I2", f"key {key} gave {self.keys[key]} and then {task_id}")

    # Machines

    def _started(self, run: Run) -> None:
        task = run_at_once(self._store.load_tasks([run.task_id])).get(run.task_id)
        if task is None:
            self._story.violation("I1", f"{run} is of a task that nobody has accepted")
            return
        before = [other for other in self._ledger.of(run.task_id) if other is not run]
        again = any(other.container == run.container for other in before)
        if again and task.spec.delivery is Delivery.AT_MOST_ONCE:
            self._story.violation("I10", f"{run} is the second start of at_most_once")
        for other in before:
            if other.attempt == run.attempt and other.container == run.container:
                if other.container_id != run.container_id:
                    self._story.violation("I14", f"{run} is a second container of its attempt")
            elif other.attempt != run.attempt and other.ended_at is None:
                self._overlap(run, other)

    def _overlap(self, run: Run, other: Run) -> None:
        self.overlaps += 1
        for one in (run, other):
            if self._excuses(one.node_id):
                return
        self._story.violation("I17", f"{run} starts while {other} still runs")

    # In the end

    def settle(self) -> None:
        """Compare the ledger with the store, once everything has ended."""
        for task_id in dict.fromkeys(self.keys.values()):
            task = run_at_once(self._store.load_tasks([task_id])).get(task_id)
            if task is None:
                self._story.violation("I1", f"{task_id} was accepted and is gone")
                continue
            if not task.status.is_terminal:
                self._story.violation("I3", f"{task_id} is {task.status.value}: {task.held or task.error}")
            for row in run_at_once(self._store.load_attempts(task_id)):
                self._compare(task, row)

    def _compare(self, task: Task, row: Attempt) -> None:
        runs = [run for run in self._ledger.of(task.task_id) if run.attempt == row.attempt]
        names = {container.name for container in task.spec.containers}
        ended = {run.container: run for run in runs}  # the last run of each
        name = f"attempt {row.attempt} of {task.task_id}"
        if any(run.node_id != row.node_id for run in runs):
            self._story.violation("ledger", f"{name} ran elsewhere than on {row.node_id}")
        if row.status is AttemptStatus.COMPLETED and set(ended) != names:
            self._story.violation("ledger", f"{name} is completed and ran only {sorted(ended)}")
        if row.status is AttemptStatus.COMPLETED and any(run.exit_code != 0 for run in ended.values()):
            self._story.violation("ledger", f"{name} is completed, its ledger {[*map(str, runs)]}")
        if row.error_code in ("EXIT_CODE", "SIGNAL") and row.exit_code not in {run.exit_code for run in runs}:
            self._story.violation("I18", f"{name} tells exit code {row.exit_code} of {[*map(str, runs)]}")
        if row.status is AttemptStatus.REFUSED and runs:
            self._story.violation("ledger", f"{name} was sent back, and ran: {[*map(str, runs)]}")
        if row.error_code == "UNKNOWN_EXIT" and row.exit_code is not None:
            self._story.violation("I18", f"{name} has an unknown exit and the code {row.exit_code}")
