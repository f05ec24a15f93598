"""Which schedules there are and which of them fires next, as far as a leader knows."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush

from podling.core.access import Principal
from podling.core.cron import Cron
from podling.core.errors import InvalidInput
from podling.core.schedule import Schedule, ScheduleEntry
from podling.core.spec import TaskSpec
from podling.master.operations.admission import SCHEDULE, Entry
from podling.store.ports.schedules import Schedules

_log = logging.getLogger(__name__)

SPARSE = timedelta(minutes=2)


@dataclass(slots=True)
class Known:
    """A schedule that fires, as far as this leader has brought it. `queued_at` is its place in the heap."""

    schedule: Schedule
    cron: Cron
    cursor: datetime
    last_task_id: str | None
    times: Iterator[datetime] = field(init=False)
    next_at: datetime | None = field(init=False)
    queued_at: datetime | None = None
    admitted: tuple[tuple[object, ...], TaskSpec] | None = None

    def __post_init__(self) -> None:
        self._restart()

    def entry(self) -> Entry:
        """Return in whose name its tasks are submitted."""
        owner = Principal(name=self.schedule.owner, roles=frozenset(self.schedule.roles))
        return Entry(actor=owner, door=SCHEDULE)

    def advance(self, cursor: datetime) -> None:
        self.cursor = max(self.cursor, cursor)
        if self.next_at is not None and self.cursor - self.next_at > SPARSE:
            self._restart()
        while self.next_at is not None and self.next_at <= self.cursor:
            self.next_at = next(self.times, None)

    def _restart(self) -> None:
        self.times = self.cron.after(self.cursor)
        self.next_at = next(self.times, None)


class KnownSchedules:
    """Reads what has changed, and all of them where that does not add up to what the store has."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules
        self._known: dict[str, Known] = {}
        self._versions: dict[str, int] = {}  # also of those that do not fire
        self._total = 0  # of the versions
        self._newest = 0
        self._queue: list[tuple[datetime, str]] = []

    def forget(self) -> None:
        self._known, self._versions, self._queue = {}, {}, []
        self._total = self._newest = 0

    async def learn(self) -> None:
        """Know what the store has. Raises StoreUnavailable."""
        revision, entries = await self._schedules.news(self._newest)
        for entry in entries:
            self._take_in(entry)
        if revision != (len(self._versions), self._total) and not await self._forget_removed():
            await self.learn_anew()  # one became visible late

    async def _forget_removed(self) -> bool:
        """Whether that is all in which this differs from what the store has. Raises StoreUnavailable."""
        there = await self._schedules.versions()
        for key in self._versions.keys() - there.keys():
            self._total -= self._versions.pop(key)
            self._known.pop(key, None)
        return self._versions == there

    async def learn_anew(self) -> None:
        """Know what the store has, and how far each has come there. Raises StoreUnavailable."""
        entries = await self._schedules.load()
        there = {entry.schedule.schedule_id for entry in entries}
        self._known = {key: known for key, known in self._known.items() if key in there}
        self._versions, self._queue, self._total, self._newest = {}, [], 0, 0
        for entry in entries:
            self._take_in(entry)

    def _take_in(self, entry: ScheduleEntry) -> None:
        key, version = entry.schedule.schedule_id, entry.schedule.version
        self._total += version - self._versions.get(key, 0)
        self._versions[key] = version
        self._newest = max(self._newest, version)
        known = self._learned(entry)
        if known is None:
            self._known.pop(key, None)
        else:
            self._known[key] = known
            self.put(known, known.next_at)

    def _learned(self, entry: ScheduleEntry) -> Known | None:
        schedule, state = entry.schedule, entry.state
        known = self._known.get(schedule.schedule_id)
        if known is not None and (known.schedule.version, known.cursor) == (schedule.version, state.cursor):
            known.last_task_id = state.last_task_id
            return known
        if schedule.paused:
            return None
        try:
            cron = Cron(schedule.cron, schedule.time_zone, now=state.cursor)
        except InvalidInput as error:
            _log.warning("schedule %s cannot fire: %s", schedule.name, error.message)
            return None
        return Known(schedule, cron, state.cursor, state.last_task_id)

    def get(self, schedule_id: str) -> Known | None:
        return self._known.get(schedule_id)

    def all(self) -> Sequence[Known]:
        return tuple(self._known.values())

    # When each fires next

    def put(self, known: Known, at: datetime | None) -> None:
        """Have it come up then; None: never."""
        known.queued_at = at
        if at is not None:
            heappush(self._queue, (at, known.schedule.schedule_id))

    def take_due(self, now: datetime, most: int) -> list[Known]:
        """Return those that have come up, in that order; they come up again when they are put again."""
        chosen: list[Known] = []
        while len(chosen) < most and (first := self._first()) is not None and first[0] <= now:
            heappop(self._queue)
            first[1].queued_at = None
            chosen.append(first[1])
        return chosen

    def next_at(self) -> datetime | None:
        """Return when the next one comes up."""
        first = self._first()
        return None if first is None else first[0]

    def _first(self) -> tuple[datetime, Known] | None:
        while self._queue:
            at, schedule_id = self._queue[0]
            known = self._known.get(schedule_id)
            if known is not None and known.queued_at == at:
                return at, known
            heappop(self._queue)  # it has another place by now
        return None
