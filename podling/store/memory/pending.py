"""Pending tasks: ready, in claim order; waiting for their time; blocked; or in a line."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from podling.core.facts import WaitingTasks
from podling.core.task import Task
from podling.store.base import PendingCounts
from podling.store.memory.sorted_keys import SortedKeys
from podling.store.ports.lines import Depths

ClaimKey = tuple[int, datetime, datetime, str]


def claim_key(task: Task) -> ClaimKey:
    return (-task.spec.priority, task.run_at, task.created_at, task.task_id)


def _longest(tasks: Sequence[Task]) -> WaitingTasks | None:
    if not tasks:
        return None
    oldest = min(tasks, key=lambda task: (task.run_at, task.task_id))
    return WaitingTasks(tasks=len(tasks), task_id=oldest.task_id, since=oldest.run_at)


@dataclass(slots=True)
class _Row:
    """`due`: its run_at has come, as far as anybody said. Ready is due and not blocked."""

    task: Task
    key: ClaimKey
    due: bool
    blocked: bool
    line: str | None = None


class PendingTable:
    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._ready: SortedKeys[ClaimKey] = SortedKeys()
        self._waiting: SortedKeys[tuple[datetime, str]] = SortedKeys()
        self._blocked: dict[str, SortedKeys[ClaimKey]] = {}  # by shape
        self._lines: dict[str, SortedKeys[ClaimKey]] = {}

    def put(self, task: Task, now: datetime, blocked: bool = False, line: str | None = None) -> None:
        """Insert or replace a pending task; only one that is due can be blocked."""
        self.discard(task.task_id)
        due = task.run_at <= now
        blocked = due and (blocked or line is not None)
        row = _Row(task, claim_key(task), due=due, blocked=blocked, line=line if due else None)
        self._rows[task.task_id] = row
        self._enter(row)

    def discard(self, task_id: str) -> None:
        """Forget the task if it is here."""
        row = self._rows.pop(task_id, None)
        if row is not None:
            self._leave(row)

    def page(self, limit: int, skip_task_ids: Sequence[str]) -> list[Task]:
        skipped, page = frozenset(skip_task_ids), list[Task]()
        if limit <= 0:
            return page
        for *_, task_id in self._ready:
            if task_id not in skipped:
                page.append(self._rows[task_id].task)
                if len(page) == limit:
                    break
        return page

    def count(self, limit: int) -> PendingCounts:
        blocked = sum(len(keys) for keys in self._blocked.values())
        return PendingCounts(
            ready=min(len(self._ready), limit),
            blocked=min(blocked, limit),
            lined=min(sum(len(keys) for keys in self._lines.values()), limit),
            later=min(len(self._waiting), limit),
        )

    def depths(self, limit: int) -> Depths:
        """Count by queue who is due, up to `limit` of each kind."""
        kinds: list[Iterable[ClaimKey]] = [
            self._ready,
            chain.from_iterable(self._blocked.values()),
            chain.from_iterable(self._lines.values()),
        ]
        found = [list(islice(kind, limit)) for kind in kinds]
        queues = Counter(self._rows[key[-1]].task.spec.queue for keys in found for key in keys)
        return Depths(queues=queues, whole=all(len(keys) < limit for keys in found))

    def count_ahead_of(self, task: Task, limit: int) -> int:
        return self._ready.count_before(claim_key(task), limit)

    def promote(self, now: datetime, limit: int) -> int:
        count = 0
        while count < limit and (first := self._waiting.first()) is not None and first[0] <= now:
            row = self._rows[first[1]]
            self._leave(row)
            row.due = True
            self._enter(row)
            count += 1
        return count

    def next_run_at(self) -> datetime | None:
        first = self._waiting.first()
        return first[0] if first else None

    def block(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            row = self._rows.get(task_id)
            if row is not None and (row.line is not None or not row.blocked):
                self._set_blocked(row, True)

    def unblock(self, shape: str, limit: int) -> int:
        chosen = list(islice(self._blocked.get(shape, ()), limit))
        for *_, task_id in chosen:
            self._set_blocked(self._rows[task_id], False)
        return len(chosen)

    def blocked_shapes(self) -> list[Task]:
        firsts = [keys.first() for keys in self._blocked.values()]
        return [self._rows[key[-1]].task for key in firsts if key is not None]

    def set_aside(self, lines: Mapping[str, str]) -> None:
        for task_id, line in lines.items():
            if (row := self._rows.get(task_id)) is not None:
                self._set_blocked(row, True, line)

    def recall(self, line: str, limit: int) -> int:
        chosen = list(islice(self._lines.get(line, ()), limit))
        for *_, task_id in chosen:
            self._set_blocked(self._rows[task_id], False)
        return len(chosen)

    def heads(self, line: str, limit: int) -> list[Task]:
        return [self._rows[task_id].task for *_, task_id in islice(self._lines.get(line, ()), limit)]

    def firsts(self, after: str, limit: int) -> dict[str, Task]:
        lines = sorted(line for line in self._lines if line > after)[:limit]
        return {line: self.heads(line, 1)[0] for line in lines}

    def place_of(self, task_id: str, limit: int) -> tuple[str, int] | None:
        row = self._rows.get(task_id)
        if row is None or row.line is None:
            return None
        return row.line, self._lines[row.line].count_before(row.key, limit)

    def waiting_longest(self) -> WaitingTasks | None:
        """Return how many are ready, and the one that has been due for longest."""
        return _longest([self._rows[task_id].task for *_, task_id in self._ready])

    def blocked_longest(self, limit: int) -> dict[str, WaitingTasks]:
        """Return the blocked shapes whose oldest task has been due for longest, that one first."""
        found = {
            shape: longest
            for shape, keys in self._blocked.items()
            if (longest := _longest([self._rows[task_id].task for *_, task_id in keys]))
        }
        chosen = sorted(found, key=lambda shape: (found[shape].since, shape))[:limit]
        return {shape: found[shape] for shape in chosen}

    def _set_blocked(self, row: _Row, blocked: bool, line: str | None = None) -> None:
        self._leave(row)
        row.blocked, row.line = blocked, line
        self._enter(row)

    def _enter(self, row: _Row) -> None:
        task = row.task
        if row.blocked:
            groups, name = self._group_of(row)
            groups.setdefault(name, SortedKeys()).add(row.key)
        if not row.due:
            self._waiting.add((task.run_at, task.task_id))
        elif not row.blocked:
            self._ready.add(row.key)

    def _leave(self, row: _Row) -> None:
        task = row.task
        if row.blocked:
            self._leave_blocked(row)
        if not row.due:
            self._waiting.remove((task.run_at, task.task_id))
        elif not row.blocked:
            self._ready.remove(row.key)

    def _leave_blocked(self, row: _Row) -> None:
        groups, name = self._group_of(row)
        alike = groups[name]
        alike.remove(row.key)
        if not alike:
            del groups[name]

    def _group_of(self, row: _Row) -> tuple[dict[str, SortedKeys[ClaimKey]], str]:
        return (self._blocked, row.task.shape) if row.line is None else (self._lines, row.line)
