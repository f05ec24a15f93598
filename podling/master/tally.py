"""How many tasks are in each state, known without asking the store."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from podling.core.task import LIVE, TaskStatus
from podling.core.view import View
from podling.master.committer import Applied
from podling.store.base import Change, Store

MOST_IN_VAIN = 20


class Tally:
    """Begun with what the store holds, then kept by what this master commits and what others tell.

    `count` again, now and then, puts right what retention removed. Live tasks are the view's. `is_writing`
    says whether this master has a commit on its way, which a count may or may not hold.
    """

    def __init__(self, store: Store, view: View, is_writing: Callable[[], bool]) -> None:
        self._store = store
        self._view = view
        self._is_writing = is_writing
        self._in_vain = 0
        self._counted: Mapping[TaskStatus, int] = {}
        self._moved: Counter[TaskStatus] = Counter()  # since then

    def begin(self, counts: Mapping[TaskStatus, int]) -> None:
        """Begin anew with what a snapshot holds, before anything that it does not hold is told."""
        self._counted, self._moved = counts, Counter()

    async def count(self) -> None:
        """Take what the store counts now, unless something moved meanwhile. Raises StoreUnavailable.

        Where something always moves, a count that is a little off is better than none for ever.
        """
        before, was_writing = self._moved.copy(), self._is_writing()
        counted = await self._store.count_tasks()
        moved = was_writing or self._is_writing() or self._moved != before
        if moved and self._in_vain < MOST_IN_VAIN:
            self._in_vain += 1
            return
        self._in_vain = 0
        self._counted = counted
        self._moved.subtract(before)

    def committed(self, applied: Iterable[Applied]) -> None:
        """Take in what this master wrote."""
        for change in applied:
            self._move(None if change.before is None else change.before.status, change.after.status)

    def told(self, changes: Sequence[Change]) -> None:
        """Take in what another master wrote, as the feed tells it."""
        for change in changes:
            self._move(change.before, change.status)

    def _move(self, before: TaskStatus | None, after: TaskStatus) -> None:
        if before is not after:
            self._moved[after] += 1
            if before is not None:
                self._moved[before] -= 1

    def counts(self) -> Mapping[TaskStatus, int]:
        """Return how many tasks are in each state; where there are very many, at least so many."""
        live = self._view.live_statuses()
        return {
            status: live[status]
            if status in LIVE
            else max(0, self._counted.get(status, 0) + self._moved[status])
            for status in TaskStatus
        }
