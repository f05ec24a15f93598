"""Tasks, their attempts and events, and the idempotency keys they claimed."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from itertools import islice

from podling.core.dead_letters import letter_of
from podling.core.placement import meets
from podling.core.task import TERMINAL, Attempt, Task, TaskEvent, TaskStatus
from podling.kit.clock import Clock
from podling.store.base import TaskQuery, TaskWrite, WriteResult, WriteStatus
from podling.store.memory.dead_letters import DeadLetterTable
from podling.store.memory.deadlines import DeadlineTable
from podling.store.memory.dependencies import DependencyTable
from podling.store.memory.keys import Claim, KeyTable
from podling.store.memory.pending import PendingTable
from podling.store.memory.sorted_keys import SortedKeys
from podling.store.ports.lines import Start

_Place = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class _Ended:
    """`at` is when the store learned of it, by the monotonic clock."""

    task: Task
    at: float


class TaskTable:
    """Ended tasks beyond `most_ended` are forgotten, the first ended first; `forgotten` is told."""

    def __init__(
        self,
        clock: Clock,
        most_ended: int,
        forgotten: Callable[[str, Iterable[int]], None],
        check_epoch: Callable[[int], None],
    ) -> None:
        self.pending = PendingTable()
        self.deadlines = DeadlineTable()
        self.letters = DeadLetterTable(self.add_events)
        self.dependencies = DependencyTable(self.get, check_epoch)
        self._clock = clock
        self._most_ended = most_ended
        self._forgotten = forgotten
        self._unended: dict[str, Task] = {}
        self._ended: OrderedDict[str, _Ended] = OrderedDict()
        self._by_status: dict[TaskStatus, set[str]] = {status: set() for status in TaskStatus}
        self._by_age: SortedKeys[_Place] = SortedKeys()
        self._attempts: dict[str, dict[int, Attempt]] = {}
        self._events: dict[str, list[TaskEvent]] = {}
        self._keys = KeyTable(most_ended)

    def write(self, write: TaskWrite, now: datetime, new_ids: frozenset[str] = frozenset()) -> WriteResult:
        task = write.task
        if write.expected_version is None:
            return self._insert(write, now, new_ids)
        known = self.get(task.task_id)
        if known is None or known.version != write.expected_version or _revives(known, task):
            return WriteResult(task_id=task.task_id, status=WriteStatus.CONFLICT)
        self._by_status[known.status].remove(task.task_id)
        if write.ends_wait:
            self.dependencies.forget(task.task_id)
        return self._put(write, now)

    def get(self, task_id: str) -> Task | None:
        task = self._unended.get(task_id)
        if task is None and (row := self._ended.get(task_id)) is not None:
            return row.task
        return task

    def is_live(self, task_id: str, attempt: int) -> bool:
        """Whether this attempt of the task is on a node."""
        task = self._unended.get(task_id)
        return task is not None and task.status.is_live and task.attempt == attempt

    def live(self) -> list[Task]:
        """Return the tasks that have an attempt on a node."""
        ids = self._by_status[TaskStatus.SCHEDULED] | self._by_status[TaskStatus.RUNNING]
        return [self._unended[task_id] for task_id in sorted(ids)]

    def counts(self) -> dict[TaskStatus, int]:
        return {status: len(ids) for status, ids in self._by_status.items()}

    def count_failed_since(self, moment: datetime, limit: int) -> int:
        """Count the tasks created since then that have failed for good, up to `limit`."""
        failed = (self._ended[task_id].task for task_id in self._by_status[TaskStatus.FAILED])
        return sum(1 for _ in islice((task for task in failed if task.created_at >= moment), limit))

    def attempts(self, task_id: str) -> list[Attempt]:
        rows = self._attempts.get(task_id, {})
        return [rows[number] for number in sorted(rows)]

    def events(self, task_id: str) -> list[TaskEvent]:
        return list(self._events.get(task_id, ()))

    def add_events(self, events: Iterable[TaskEvent]) -> None:
        for event in events:
            if self.get(event.task_id) is not None:
                self._events.setdefault(event.task_id, []).append(event)

    def forget_ended(self, keep_seconds: float, most: int) -> bool:
        """Forget the tasks that ended at least so long ago; True if there are more than so many."""
        latest = self._clock.monotonic() - keep_seconds
        for _ in range(most):
            if not self._ended or next(iter(self._ended.values())).at > latest:
                return False
            self._forget_oldest()
        return True

    def query(self, query: TaskQuery) -> list[Task]:
        candidates = self._few(query.statuses)
        if candidates is None:
            found = filter(_matcher(query), self._newest_first(query.after))
            return list(islice(found, query.limit))
        after = query.after
        chosen = [task for task in candidates if after is None or _place(task) < after]
        return nlargest(query.limit, filter(_matcher(query), chosen), key=_place)

    def _few(self, statuses: Sequence[TaskStatus]) -> list[Task] | None:
        """Return the tasks in these states if they are few, so that the others need no look."""
        if not statuses or TERMINAL.intersection(statuses):
            return None
        ids = [task_id for status in set(statuses) for task_id in self._by_status[status]]
        if len(ids) * 4 > len(self._by_age):
            return None
        return [self._unended[task_id] for task_id in ids]

    def _newest_first(self, after: _Place | None) -> Iterator[Task]:
        for _, task_id in self._by_age.descending(after):
            task = self.get(task_id)
            assert task is not None
            yield task

    def starts_since(self, queues: Sequence[str] | None, since: datetime) -> list[Start]:
        """Return attempts of these queues that were given to nodes since then."""
        found = ((self.get(task_id), rows) for task_id, rows in self._attempts.items())
        return [
            Start(queue=task.spec.queue, task_id=row.task_id, attempt=row.attempt, at=row.scheduled_at)
            for task, rows in found
            if task is not None and (queues is None or task.spec.queue in queues)
            for row in rows.values()
            if row.scheduled_at >= since
        ]

    def _insert(self, write: TaskWrite, now: datetime, new_ids: frozenset[str]) -> WriteResult:
        task, key = write.task, write.task.spec.idempotency_key
        if key is not None and (claim := self._keys.get(key)) is not None:
            same = claim.body_hash == write.body_hash
            return WriteResult(task_id=claim.task_id, status=WriteStatus.DUPLICATE, same_body=same)
        if self.get(task.task_id) is not None:
            return WriteResult(task_id=task.task_id, status=WriteStatus.CONFLICT)
        if task.spec.depends_on and (parent := self.dependencies.missing(task, new_ids)) is not None:
            return WriteResult(task_id=parent, status=WriteStatus.NO_PARENT)
        if write.takes_off is not None and not self.letters.discard(write.takes_off) and write.only_if_listed:
            return WriteResult(task_id=task.task_id, status=WriteStatus.NOT_LISTED)
        if key is not None:
            self._keys.claim(key, Claim(task.task_id, write.body_hash, self._clock.monotonic()))
        self._by_age.add(_place(task))
        if task.waits_for_parents:
            self.dependencies.put(task)
        return self._put(write, now)

    def _put(self, write: TaskWrite, now: datetime) -> WriteResult:
        task = write.task
        self._by_status[task.status].add(task.task_id)
        if write.attempts:
            rows = self._attempts.setdefault(task.task_id, {})
            rows.update({row.attempt: row for row in write.attempts})
        if task.status.is_terminal:
            self._end(task)
        else:
            self._keep(task, now, write.blocked, write.line)
        self.add_events(write.events)
        return WriteResult(task_id=task.task_id, status=WriteStatus.APPLIED)

    def _keep(self, task: Task, now: datetime, blocked: bool, line: str | None) -> None:
        self._unended[task.task_id] = task
        self.deadlines.put(task)
        if task.status is TaskStatus.PENDING:
            self.pending.put(task, now, blocked, line)
        else:
            self.pending.discard(task.task_id)

    def _end(self, task: Task) -> None:
        self._unended.pop(task.task_id, None)
        self.pending.discard(task.task_id)
        self.deadlines.discard(task.task_id)
        known = self._ended.get(task.task_id)
        self._ended[task.task_id] = _Ended(task, known.at if known else self._clock.monotonic())
        if known is None and (letter := letter_of(task)) is not None:
            self.letters.put(letter)
        while len(self._ended) > self._most_ended:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        task = self._ended.popitem(last=False)[1].task
        self._by_status[task.status].remove(task.task_id)
        self._by_age.remove(_place(task))
        self._events.pop(task.task_id, None)
        self.letters.discard(task.task_id)
        if task.spec.idempotency_key is not None:
            self._keys.orphan(task.spec.idempotency_key, self._clock.monotonic())
        self._forgotten(task.task_id, self._attempts.pop(task.task_id, {}))


def _revives(known: Task, task: Task) -> bool:
    """An ended task may be written again, but never comes back to life."""
    return known.status.is_terminal and not task.status.is_terminal


def _place(task: Task) -> _Place:
    return (task.created_at, task.task_id)


def _matcher(query: TaskQuery) -> Callable[[Task], bool]:
    statuses = frozenset(query.statuses)

    def matches(task: Task) -> bool:
        spec = task.spec
        return (
            (not statuses or task.status in statuses)
            and (query.queue is None or spec.queue == query.queue)
            and (query.node_id is None or task.node_id == query.node_id)
            and (query.name is None or spec.name == query.name)
            and (query.kind is None or spec.kind == query.kind)
            and query.labels.items() <= spec.labels.items()
            and all(meets(spec.labels, selector) for selector in query.selectors)
        )

    return matches
