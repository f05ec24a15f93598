"""The feed of what masters committed, and the answers that their batches got."""

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from podling.kit.clock import Clock
from podling.store.base import Batch, Change, ChangeBatch, TaskWrite, WriteResult, WriteStatus

KEPT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Record:
    number: int
    place: int  # in the order of all commits
    committed_at: float
    changes: ChangeBatch
    results: Sequence[WriteResult]


class ChangeTable:
    """Keeps batches for ten minutes, fewer if they hold more changes than `most_changes`."""

    def __init__(self, clock: Clock, most_changes: int) -> None:
        self._clock = clock
        self._most_changes = most_changes
        self._count = 0
        self._by_master: dict[str, list[_Record]] = {}
        self._oldest: deque[tuple[str, _Record]] = deque()
        self._newest: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}  # the newest number of each that is gone
        self._places = count()

    def answer_to(self, master_id: str, number: int) -> Sequence[WriteResult] | None:
        """Return what the batch was answered the first time, None if it is new."""
        records = self._by_master.get(master_id, [])
        position = bisect_right(records, number, key=_number) - 1
        if position < 0 or records[position].number != number:
            return None
        return records[position].results

    def add(self, batch: Batch, results: Sequence[WriteResult]) -> None:
        changes = tuple(
            change
            for write, result in zip(batch.tasks, results, strict=True)
            if result.status is WriteStatus.APPLIED
            for change in _changes(write)
        )
        told = ChangeBatch(
            master_id=batch.master_id,
            number=batch.number,
            changes=changes,
            nodes=batch.nodes,
            at=batch.now,
        )
        record = _Record(batch.number, next(self._places), self._clock.monotonic(), told, results)
        records = self._by_master.setdefault(batch.master_id, [])
        records.insert(bisect_right(records, batch.number, key=_number), record)
        self._oldest.append((batch.master_id, record))
        self._newest[batch.master_id] = records[-1].number
        self._count += _size(record)
        self._forget_old()

    def cursors(self) -> dict[str, int]:
        """Return the number of every master's newest batch."""
        return dict(self._newest)

    def after(self, cursors: Mapping[str, int], limit: int) -> list[ChangeBatch]:
        found: list[_Record] = []
        for master_id, records in self._by_master.items():
            start = bisect_right(records, cursors.get(master_id, -1), key=_number)
            found += records[start : start + limit]
        return [record.changes for record in sorted(found, key=_place)[:limit]]

    def kept(self) -> dict[str, tuple[int, int]]:
        """See `Store.changes_kept`."""
        gone = {master_id: (number, number) for master_id, number in self._forgotten.items()}
        return gone | {
            master_id: (records[0].number, records[-1].number)
            for master_id, records in self._by_master.items()
        }

    def _forget_old(self) -> None:
        oldest_kept = self._clock.monotonic() - KEPT_SECONDS
        while self._oldest and (
            self._count > self._most_changes or self._oldest[0][1].committed_at < oldest_kept
        ):
            self._forget(*self._oldest.popleft())

    def _forget(self, master_id: str, record: _Record) -> None:
        self._count -= _size(record)
        self._forgotten[master_id] = max(record.number, self._forgotten.get(master_id, 0))
        records = self._by_master[master_id]
        records.remove(record)
        if not records:
            del self._by_master[master_id], self._newest[master_id]


def _number(record: _Record) -> int:
    return record.number


def _place(record: _Record) -> int:
    return record.place


def _size(record: _Record) -> int:
    """A batch without changes takes room too."""
    return 1 + len(record.results)


def _changes(write: TaskWrite) -> tuple[Change, ...]:
    task = write.task
    change = Change(
        task_id=task.task_id,
        version=task.version,
        status=task.status,
        attempt=task.attempt,
        node_id=task.node_id,
        before=write.before,
    )
    return change.with_its_making() if write.is_given else (change,)
