"""Schedules and their fires."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count

from podling.core.schedule import Fire, FireWrite, Schedule, ScheduleEntry, ScheduleState
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten
from podling.store.ports.schedules import FireQuery, Revision, Schedules

_Place = tuple[datetime, bool]


class ScheduleTable(Schedules):
    """See the port."""

    def __init__(self, check_epoch: Callable[[int], None], call: Callable[[], None]) -> None:
        self._check_epoch = check_epoch
        self._call = call
        self._versions = count(1)
        self._total = 0  # of the versions
        self._entries: dict[str, ScheduleEntry] = {}
        self._ids: dict[str, str] = {}  # by name
        self._fires: dict[str, dict[_Place, Fire]] = {}
        self._last: dict[str, Fire] = {}

    async def add(self, schedule: Schedule, cursor: datetime) -> Schedule | None:
        if schedule.name in self._ids:
            return None
        self._ids[schedule.name] = schedule.schedule_id
        self._fires[schedule.schedule_id] = {}
        return self._keep(schedule, ScheduleState(cursor=cursor))

    async def change(self, schedule: Schedule, cursor: datetime | None) -> Schedule | None:
        known = self._entries.get(schedule.schedule_id)
        if known is None or known.schedule.version != schedule.version:
            return None
        if self._ids.get(schedule.name, schedule.schedule_id) != schedule.schedule_id:
            return None
        del self._ids[known.schedule.name]
        self._ids[schedule.name] = schedule.schedule_id
        state = known.state if cursor is None else replace(known.state, cursor=cursor)
        return self._keep(schedule, state)

    def _keep(self, schedule: Schedule, state: ScheduleState) -> Schedule:
        kept = replace(schedule, version=next(self._versions))
        self._count(schedule.schedule_id, kept.version)
        self._entries[schedule.schedule_id] = ScheduleEntry(schedule=kept, state=state)
        self._call()
        return kept

    async def remove(self, schedule_id: str) -> bool:
        gone = self._entries.get(schedule_id)
        if gone is None:
            return False
        self._count(schedule_id, 0)
        del self._entries[schedule_id], self._ids[gone.schedule.name], self._fires[schedule_id]
        self._last.pop(schedule_id, None)
        self._call()
        return True

    def _count(self, schedule_id: str, version: int) -> None:
        known = self._entries.get(schedule_id)
        self._total += version - (known.schedule.version if known else 0)

    async def find(self, id_or_name: str) -> ScheduleEntry | None:
        entry = self._entries.get(id_or_name) or self._entries.get(self._ids.get(id_or_name, ""))
        return None if entry is None else self._with_last(entry)

    async def load(
        self, after: tuple[datetime, str] | None = None, limit: int | None = None
    ) -> Sequence[ScheduleEntry]:
        found = sorted(self._entries.values(), key=_age, reverse=True)
        return [self._with_last(entry) for entry in found if after is None or _age(entry) < after][:limit]

    def _with_last(self, entry: ScheduleEntry) -> ScheduleEntry:
        return replace(entry, state=replace(entry.state, last=self._last.get(entry.schedule.schedule_id)))

    async def revision(self) -> Revision:
        return len(self._entries), self._total

    async def news(self, version: int) -> tuple[Revision, Sequence[ScheduleEntry]]:
        newer = [entry for entry in self._entries.values() if entry.schedule.version > version]
        return await self.revision(), newer

    async def versions(self) -> Mapping[str, int]:
        return {key: entry.schedule.version for key, entry in self._entries.items()}

    def claim(self, write: FireWrite) -> bool:
        """Keep the decision, if it holds."""
        fire = write.fire
        entry = self._entries.get(fire.schedule_id)
        if entry is None or entry.schedule.version != write.version:
            return False
        if write.after is not None and write.after > entry.state.cursor:
            return False
        if write.alone and entry.state.last_task_id != write.previous:
            return False
        fires = self._fires[fire.schedule_id]
        if _place(fire) in fires:
            return False
        fires[_place(fire)] = fire
        last = self._last.setdefault(fire.schedule_id, fire)
        if _place(last) < _place(fire):
            self._last[fire.schedule_id] = fire
        state = replace(entry.state, last_task_id=fire.task_id or entry.state.last_task_id)
        if not fire.manual:
            state = replace(state, cursor=max(state.cursor, fire.fire_time))
        self._entries[fire.schedule_id] = replace(entry, state=state)
        return True

    async def record(self, writes: Sequence[FireWrite], epoch: int) -> Sequence[bool]:
        self._check_epoch(epoch)
        return [self.claim(write) for write in writes]

    async def set_cursor(self, schedule_ids: Sequence[str], cursor: datetime, epoch: int) -> None:
        self._check_epoch(epoch)
        for schedule_id in schedule_ids:
            if (entry := self._entries.get(schedule_id)) is not None:
                self._entries[schedule_id] = replace(entry, state=replace(entry.state, cursor=cursor))

    async def fires(self, query: FireQuery) -> Sequence[Fire]:
        fires = self._fires.get(query.schedule_id, {})
        found = [fires[place] for place in sorted(fires, reverse=True) if _fits(fires[place], query)]
        return found[: query.limit]

    async def prune(self, before: datetime, most: int, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        every = [fire for fires in self._fires.values() for fire in fires.values()]
        every.sort(key=lambda fire: fire.at, reverse=True)
        gone = [fire for index, fire in enumerate(every) if index >= most or fire.at < before]
        for fire in gone:
            del self._fires[fire.schedule_id][_place(fire)]
        for schedule_id in {fire.schedule_id for fire in gone if self._last[fire.schedule_id] is fire}:
            left = self._fires[schedule_id]
            self._last.pop(schedule_id)
            if left:
                self._last[schedule_id] = left[max(left)]
        return Forgotten(removed=len(gone), is_complete=True)


def _age(entry: ScheduleEntry) -> tuple[datetime, str]:
    return entry.schedule.created_at, entry.schedule.schedule_id


def _place(fire: Fire) -> _Place:
    return fire.fire_time, fire.manual


def _fits(fire: Fire, query: FireQuery) -> bool:
    return query.outcome in (None, fire.outcome) and (query.after is None or _place(fire) < query.after)
