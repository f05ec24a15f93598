"""The laws of docs/laws.md, watched in everything that the database commits and machines run."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from podling.core.graph import Outlook, end_of, outlook
from podling.core.lifecycle import TABLE
from podling.core.placement import requirement_of
from podling.core.spec import Delivery, OnDisconnect
from podling.core.task import Attempt, AttemptStatus, Task, TaskStatus
from podling.store.base import Batch, Beat, Store, TaskWrite, WriteResult, WriteStatus
from tests.sim.call import Call
from tests.sim.ledger import Ledger, Run
from tests.sim.loop import run_at_once
from tests.sim.orders import Orders
from tests.sim.story import Story

_MOVES = {
    (source, target) for move in TABLE.values() for source in move.sources for target in move.targets
} | {(status, status) for status in TaskStatus}
_LIVE_ROWS = (AttemptStatus.SCHEDULED, AttemptStatus.RUNNING)
_SLACK = 1e-6

KNOWN_SECONDS = 6.0  # after which, while nothing goes wrong, a leader knows what an operator has said


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
        self._numbers: dict[tuple[str, int], Batch] = {}
        self._closed_at: dict[str, float] = {}  # nodes that take no new work
        self._removed_at: dict[str, float] = {}
        self._told_ends: set[tuple[str, int]] = set()  # attempts of which the worker told the end
        self._released: set[tuple[str, int]] = set()  # those about which an operator decided
        self.allocatable: dict[str, Mapping[str, int]] = {}
        self.orders: Mapping[str, Orders] = {}
        self.keys: dict[str, str] = {}  # the task of each idempotency key
        self.calm_since: float | None = None  # nothing has gone wrong since then
        self._left_under: dict[str, list[str]] = defaultdict(list)  # tasks by SQL, those of one key together
        self.replays: list[str] = []  # tasks that were submitted as others again
        self.overlaps = 0
        self.commits = 0
        ledger.watch(self._started)

    # The database

    def observe(self, call: Call, before: Mapping[str, Any], answer: Any) -> None:
        """Check what a call that took effect has changed."""
        match call.name:
            case "commit":
                self._committed(call.host, call.arguments[0], before, answer)
            case "take_leadership" | "renew_leadership" | "resign_leadership":
                self._led(answer if call.name == "take_leadership" else None)
            case "open_session" | "save_node" | "beat":
                self._beats()
                self._check_session(call, before, answer)
            case "mark_lost" if answer:
                self._marked(call.arguments[0], call.arguments[2])
            case "block" | "unblock" if call.arguments[1] != self._epoch:
                text = f"epoch {call.arguments[1]} did {call.name}, but {self._epoch} leads"
                self._story.violation("I21", text)
            case "set_service" if answer is not None:
                self._served(call.arguments[0], call.named["cordoned"])
            case "remove_node":
                self._served(call.arguments[0], False)
                self._removed_at[call.arguments[0]] = self._now()

    def _led(self, taken: int | None) -> None:
        if taken is not None and taken <= self._epoch:
            self._story.violation("I22", f"epoch {taken} was given out after {self._epoch}")
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

    def _check_session(self, call: Call, before: Mapping[str, Any], answer: Any) -> None:
        """I20: only the newest session of a node counts."""
        told = call.arguments
        if call.name == "beat":
            for node in run_at_once(self._store.load_nodes()):
                if node.node_id in answer and told[0][node.node_id] != node.session_no:
                    self._story.violation("I20", f"a beat of an older session of {node.node_id} counted")
        if call.name == "save_node" and answer and len(told) > 1 and told[1] is not None:
            known = before.get(told[0].node_id)
            if known is None or known.session_no != told[1]:
                self._story.violation("I20", f"an older session of {told[0].node_id} was written")

    def _served(self, node_id: str, cordoned: bool) -> None:
        """Note since when an operator wants no new work there."""
        if cordoned:
            self._closed_at.setdefault(node_id, self._now())
        else:
            self._closed_at.pop(node_id, None)

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
        first = self._numbers.setdefault((batch.master_id, batch.number), batch)
        if len(answer) != len(batch.tasks):
            return  # only to have its number used up: it had been written before
        for write, result in zip(batch.tasks, answer, strict=True):
            if result.status is not WriteStatus.APPLIED:
                continue
            known, task = before.get(write.task.task_id), write.task
            if known is not None and known.version >= task.version:
                continue  # a batch that was repeated: its first answer again
            if first is not batch:
                number = f"number {batch.number} of {batch.master_id}"
                text = f"{task.task_id} was written with {number}, which had been used up"
                self._story.violation("I2", text)
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
            for row in write.attempts:
                self._told(batch, write, row)
            if write.attempts:
                self._check_attempts(task)

    def _moved(self, batch: Batch, known: Task | None, task: Task) -> None:
        if known is None:
            if not task.attempt:
                return
            known = replace(task, status=TaskStatus.PENDING, attempt=0, node_id=None)  # new, with a node
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
        self._check_parents(task)
        if known.status.is_live:
            self._story.violation("I6", f"{task.task_id} assigned while attempt {known.attempt} was live")
        closed_at = self._closed_at.get(task.node_id or "")
        if closed_at is not None and self.calm_since is not None:
            seconds = self._now() - max(closed_at, self.calm_since)
            if seconds > KNOWN_SECONDS:
                text = f"{task.task_id} assigned to {task.node_id}, closed for {seconds:.1f} s"
                self._story.violation("I19", text)

    def _check_parents(self, task: Task) -> None:
        """I29: whoever starts has parents that have all ended as it wants."""
        links = task.spec.depends_on
        parents = run_at_once(self._store.load_tasks([link.task_id for link in links])) if links else {}
        for link in links:
            end = end_of(parents[link.task_id].status)
            if outlook(link.when, end) is not Outlook.MET:
                text = f"{task.task_id} started, and {link.task_id}, wanted {link.when.value}, is {end}"
                self._story.violation("I29", text)

    def _told(self, batch: Batch, write: TaskWrite, row: Attempt) -> None:
        """Note who said that an attempt is over; what its worker says is true of what ran."""
        key = (row.task_id, row.attempt)
        if row.status in _LIVE_ROWS:
            return
        by_operator = any(event.type == "resolved" for event in write.events)
        if batch.epoch is None and (by_operator or row.status is AttemptStatus.LOST):
            self._released.add(key)
        elif row.status is not AttemptStatus.LOST:
            self._told_ends.add(key)
            is_known = row.status is AttemptStatus.COMPLETED or row.error_code == "EXIT_CODE"
            for run in self._ledger.running(*key) if is_known else ():
                self._story.violation("I8", f"{run} runs on although it was told as {row.status}")
            has_exit = row.exit_code is not None
            if has_exit and not any(run.attempt == row.attempt for run in self._ledger.of(row.task_id)):
                text = f"attempt {row.attempt} of {row.task_id} was told as {row.status} and never ran"
                self._story.violation("I8", text)

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
        offered = self.allocatable.get(task.node_id, {})
        for resource, amount in used.items():
            if amount > offered.get(resource, 0):
                self._story.violation("I38", f"{task.node_id} has {amount} of {resource} in use")

    def _check_attempts(self, task: Task) -> None:
        rows: Sequence[Attempt] = run_at_once(self._store.load_attempts(task.task_id))
        live = [row for row in rows if row.status in _LIVE_ROWS]
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

    def left(self, task_id: str, key: str | None) -> None:
        """A program has committed this task to the inbox, perhaps under a key."""
        self._left_under[key or task_id].append(task_id)

    # Machines

    def _started(self, run: Run) -> None:
        task = run_at_once(self._store.load_tasks([run.task_id])).get(run.task_id)
        if task is None:
            self._story.violation("I1", f"{run} is of a task that nobody has accepted")
            return
        before = [other for other in self._ledger.of(run.task_id) if other is not run]
        self._check_orders(run, before)
        same = [other for other in before if other.container == run.container]
        again = any((other.task_id, other.attempt) not in self._released for other in same)
        if again and task.spec.delivery is Delivery.AT_MOST_ONCE:
            self._story.violation("I10", f"{run} is the second start of at_most_once")
        for other in before:
            if other.attempt == run.attempt and other.container == run.container:
                if other.container_id != run.container_id:
                    self._story.violation("I14", f"{run} is a second container of its attempt")
            elif other.attempt != run.attempt and other.ended_at is None:
                self._overlap(run, other)

    def _check_orders(self, run: Run, before: Sequence[Run]) -> None:
        if (run.task_id, run.attempt) in self._told_ends:
            self._story.violation("I13", f"{run} starts after its end was told")
        is_first = all(other.attempt != run.attempt for other in before)
        why = self.orders[run.node_id].against(run, is_first)
        if why is not None and not self._excuses(run.node_id):
            self._story.violation(*why)

    def _overlap(self, run: Run, other: Run) -> None:
        self.overlaps += 1
        if (other.task_id, other.attempt) in self._released:
            return
        for one in (run, other):
            lately = self._now() - self._removed_at.get(one.node_id, float("-inf")) < self._lease * 1.5 + 3.0
            if lately or self._excuses(one.node_id):
                return
        self._story.violation("I17", f"{run} starts while {other} still runs")

    # In the end

    def settle(self) -> None:
        """Compare the ledger with the store, once everything has ended."""
        by_sql = [task_id for task_ids in self._left_under.values() for task_id in task_ids]
        for key, task_ids in self._left_under.items():
            if sum(bool(self._ledger.of(task_id)) for task_id in task_ids) > 1:
                self._story.violation("I2", f"more than one task ran of key {key}: {task_ids}")
        for task_id in dict.fromkeys((*self.keys.values(), *self.replays, *by_sql)):
            task = run_at_once(self._store.load_tasks([task_id])).get(task_id)
            if task is None:
                self._story.violation("I1", f"{task_id} was accepted and is gone")
                continue
            if not task.status.is_terminal:
                self._story.violation("I3", f"{task_id} is {task.status.value}: {task.held or task.error}")
            rows = run_at_once(self._store.load_attempts(task_id))
            self._check_end(task, rows)
            for row in rows:
                self._compare(task, row)

    def _check_end(self, task: Task, rows: Sequence[Attempt]) -> None:
        """I11: given up only when the budget is spent, and every attempt says why it ended badly."""
        for row in rows:
            if row.status is not AttemptStatus.COMPLETED and not (row.error_code and row.error):
                self._story.violation(
                    "I11", f"attempt {row.attempt} of {task.task_id} ended without a reason"
                )
        reason, spec = task.dead_letter_reason, task.spec
        if task.status is TaskStatus.FAILED and reason is None:
            self._story.violation("I11", f"{task.task_id} failed without a reason")
        if reason == "MAX_ATTEMPTS_EXCEEDED" and task.failures < spec.max_attempts:
            self._story.violation("I11", f"{task.task_id} was given up after {task.failures} failures")
        if reason == "MAX_LOSSES_EXCEEDED" and task.losses <= spec.max_losses:
            self._story.violation("I12", f"{task.task_id} was given up after {task.losses} losses")

    def _compare(self, task: Task, row: Attempt) -> None:
        if (task.task_id, row.attempt) in self._released:
            return
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
