"""Fires schedules: each of their times is decided once, by whoever leads."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import chain
from operator import is_

from podling.core.access import Principal
from podling.core.cron import Cron
from podling.core.errors import Forbidden, InvalidInput, TooManyRequests
from podling.core.lifecycle import Cancel
from podling.core.schedule import (
    Fire,
    FireWrite,
    Outcome,
    Overlap,
    Planned,
    Schedule,
    ScheduleEntry,
    corrected,
    denied,
    digest_of,
    due,
    fired_event,
    has_waited,
    planned,
    start_at,
)
from podling.core.spec import TaskSpec
from podling.core.task import Task
from podling.core.transition import Actor
from podling.kit.ids import new_id
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.master.inserts import Insert
from podling.master.operations.admission import SCHEDULE, Entry, check, let_in
from podling.master.operations.tasks import insert_of, new_task
from podling.store.ports.schedules import FireQuery, Revision

_log = logging.getLogger(__name__)

PAGE = 1000  # schedules in one pass
AT_A_TIME = 50  # decided before others have a turn
LOOK_SECONDS = 5.0  # the hint that a schedule was changed may be lost
WAIT_SECONDS = 1.0  # so may the news that a task has ended which is being replaced
SPARSE = timedelta(minutes=2)


@dataclass(slots=True)
class _Known:
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


@dataclass(slots=True)
class _Decided:
    known: _Known
    plan: Planned
    inserts: list[Insert]


class ScheduleLoop:
    """What it knows is as good as the store while nobody else leads: whatever does not go as it should has
    it read the store anew. A commit holds the task, the record of its fire and how far the schedule is."""

    def __init__(self, context: MasterContext, page: int = PAGE) -> None:
        self._context = context
        self._page = page
        self.wakeup = Wakeup()
        self._epoch: int | None = None
        self._revision: Revision | None = None
        self._known: dict[str, _Known] = {}
        self._queue: list[tuple[datetime, str]] = []
        self._awaited: dict[str, str] = {}  # schedules by the task that each is to replace
        self._look_at = 0.0
        context.feed.listen(self._after_commit)

    def changed(self) -> None:
        """Somebody may have made, changed or removed a schedule."""
        self._look_at = 0.0
        self.wakeup.set()

    def _after_commit(self, applied: Sequence[Applied]) -> None:
        if not self._awaited:
            return
        for item in applied:
            if item.after.status.is_terminal and item.after.task_id in self._awaited:
                known = self._known.get(self._awaited.pop(item.after.task_id))
                if known is not None:
                    self._put(known, self._context.clock.now())
                    self.wakeup.set()

    async def run_once(self) -> float | None:
        if self._epoch != self._context.epoch:
            self._forget()
            self._epoch = self._context.epoch
        if self._epoch is None:
            return None
        try:
            await self._look(self._epoch)
            await self._fire(self._epoch)
        except BaseException:
            self._forget()  # what became of it is not known
            raise
        return self._seconds_to_next()

    def _forget(self) -> None:
        self._revision, self._look_at = None, 0.0
        self._known, self._queue, self._awaited = {}, [], {}

    # What there is

    async def _look(self, epoch: int) -> None:
        if self._context.clock.monotonic() < self._look_at:
            return
        self._look_at = self._context.clock.monotonic() + LOOK_SECONDS
        revision = await self._context.store.schedules.revision()
        if revision != self._revision:
            await self._load()
            self._revision = revision
        await self._correct(epoch)

    async def _load(self) -> None:
        entries = await self._context.store.schedules.load()
        found = [known for entry in entries if (known := self._learn(entry)) is not None]
        self._known = {known.schedule.schedule_id: known for known in found}
        self._queue = []
        for known in found:
            self._put(known, known.next_at)

    def _learn(self, entry: ScheduleEntry) -> _Known | None:
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
        return _Known(schedule, cron, state.cursor, state.last_task_id)

    async def _correct(self, epoch: int) -> None:
        """Go on from now where the clock was far ahead; what has been fired since is not fired again."""
        now = self._context.clock.now()
        ahead = [key for key, known in self._known.items() if corrected(known.cursor, now) != known.cursor]
        if ahead:
            _log.warning("the clock went back by hours: %d schedules go on from now", len(ahead))
            await self._context.store.schedules.set_cursor(ahead, now, epoch)
            await self._load()

    # What is due

    async def _fire(self, epoch: int) -> None:
        now = self._context.clock.now()
        chosen = self._take_due(now)
        if not chosen:
            return
        decided = await self._decide_all(chosen, now)
        refused = await self._record(decided, epoch, [item.plan.before for item in decided])
        refused += await self._start(decided, epoch)
        refused += await self._record(decided, epoch, [item.plan.after for item in decided])
        for item in decided:
            self._move_on(item, now)
        if refused:
            await self._go_past(refused, epoch)

    def _take_due(self, now: datetime) -> list[_Known]:
        chosen: list[_Known] = []
        while self._queue and self._queue[0][0] <= now and len(chosen) < self._page:
            known = self._at_place(*heappop(self._queue))
            if known is not None:
                known.queued_at = None
                chosen.append(known)
        return chosen

    def _at_place(self, at: datetime, schedule_id: str) -> _Known | None:
        """Return the schedule that an entry of the heap means, unless it has another place by now."""
        known = self._known.get(schedule_id)
        return known if known is not None and known.queued_at == at else None

    def _put(self, known: _Known, at: datetime | None) -> None:
        known.queued_at = at
        if at is not None:
            heappush(self._queue, (at, known.schedule.schedule_id))

    async def _decide_all(self, chosen: Sequence[_Known], now: datetime) -> list[_Decided]:
        previous = await self._previous(chosen)
        decided = []
        for index, known in enumerate(chosen):
            decided.append(await self._decide(known, previous, now))
            if index % AT_A_TIME == AT_A_TIME - 1:
                await asyncio.sleep(0)
        return decided

    async def _previous(self, chosen: Sequence[_Known]) -> Mapping[str, Task]:
        """Return the last tasks of those whose tasks run alone; stop those that are to be replaced."""
        alone = [known for known in chosen if known.schedule.runs_alone and known.last_task_id is not None]
        if not alone:
            return {}
        tasks = dict(await self._context.store.load_tasks([known.last_task_id or "" for known in alone]))
        replaced = {
            known.last_task_id or "": Cancel(reason=f"schedule {known.schedule.name} fired again")
            for known in alone
            if known.schedule.overlap is Overlap.REPLACE and _is_there(tasks, known)
        }
        stops = [Happening(task_id, stop) for task_id, stop in replaced.items()]
        answers = await self._context.committer.apply_as_leader(stops)
        return tasks | {answer.task_id: answer for answer in answers if isinstance(answer, Task)}

    async def _decide(self, known: _Known, tasks: Mapping[str, Task], now: datetime) -> _Decided:
        schedule, previous = known.schedule, tasks.get(known.last_task_id or "")
        waited = previous is not None and has_waited(previous, known.next_at or now)
        plan = planned(schedule, due(schedule, known.cron, known.cursor, now, waited=waited), previous, now)
        if not plan.start:
            return _Decided(known, plan, [])
        try:
            spec = await self._admitted(known)
        except (InvalidInput, Forbidden) as error:
            _log.info("schedule %s was denied: %s", schedule.name, error.message)
            return _Decided(known, denied(schedule, plan, now, error.message), [])
        plan = await self._let_in(known, plan, spec, now)
        return _Decided(known, plan, [self._insert(known, plan, spec, at, now) for at in plan.start])

    async def _admitted(self, known: _Known) -> TaskSpec:
        """Return the task as its owner may submit it now. Raises InvalidInput, PolicyDenied."""
        rules = self._rules()
        if known.admitted is None or not all(map(is_, known.admitted[0], rules)):
            spec = await check(self._context, known.schedule.task, known.entry())
            known.admitted = (rules, spec)
        return known.admitted[1]

    def _rules(self) -> tuple[object, ...]:
        """Return what decides whether a task is admitted, new where any of it is."""
        context = self._context
        return context.policy.policy, context.alerts.rules, context.queues.rules

    async def _let_in(self, known: _Known, plan: Planned, spec: TaskSpec, now: datetime) -> Planned:
        """Return the plan with as many starts as the queue takes in this minute."""
        for count in range(len(plan.start)):
            try:
                await let_in(self._context, spec, known.entry())
            except TooManyRequests as error:
                return denied(known.schedule, plan, now, error.message, let_in=count)
        return plan

    def _insert(self, known: _Known, plan: Planned, spec: TaskSpec, at: datetime, now: datetime) -> Insert:
        schedule = known.schedule
        task_id = new_id(at, lambda _: digest_of(schedule, at))
        task = new_task(task_id, spec, now, max(start_at(schedule, at), now))
        fire = Fire(
            schedule_id=schedule.schedule_id, fire_time=at, outcome=Outcome.STARTED, at=now, task_id=task_id
        )
        return insert_of(
            self._context,
            task,
            fire=_write(known, plan, fire, alone=schedule.runs_alone),
            events=(fired_event(schedule, fire, str(Actor.LEADER)),),
        )

    # What becomes of it

    async def _record(
        self, decided: Sequence[_Decided], epoch: int, fires: Sequence[Sequence[Fire]]
    ) -> list[FireWrite]:
        writes = [
            _write(item.known, item.plan, fire)
            for item, some in zip(decided, fires, strict=True)
            for fire in some
        ]
        if not writes:
            return []
        kept = await self._context.store.schedules.record(writes, epoch)
        return [write for write, holds in zip(writes, kept, strict=True) if not holds]

    async def _start(self, decided: Sequence[_Decided], epoch: int) -> list[FireWrite]:
        """Return the fires that were not to be made any more."""
        inserts = list(chain.from_iterable(item.inserts for item in decided))
        if not inserts:
            return []
        refused, broken = [], []
        answers = await self._context.committer.insert_as_leader(inserts)
        for insert, answer in zip(inserts, answers, strict=True):
            assert insert.fire is not None
            if isinstance(answer, InvalidInput):
                broken.append(_broken(insert.fire, answer.message))
            elif not isinstance(answer, Task):
                refused.append(insert.fire)
        if broken:
            await self._context.store.schedules.record(broken, epoch)
        return refused

    def _move_on(self, item: _Decided, now: datetime) -> None:
        known, plan = item.known, item.plan
        reached = plan.times()
        if not reached:
            assert known.last_task_id is not None, "only what replaces another waits"
            self._awaited[known.last_task_id] = known.schedule.schedule_id
            self._put(known, now + timedelta(seconds=WAIT_SECONDS))
            return
        if item.inserts:
            known.last_task_id = item.inserts[-1].task.task_id
        known.advance(reached[-1])
        self._put(known, known.next_at)

    async def _go_past(self, refused: Sequence[FireWrite], epoch: int) -> None:
        """Read anew what others have changed; leave behind what was decided before a clock went back."""
        await self._load()
        for write in refused:
            known = self._known.get(write.fire.schedule_id)
            if known is not None and known.cursor < write.fire.fire_time and await self._is_decided(write):
                key = write.fire.schedule_id
                await self._context.store.schedules.set_cursor([key], write.fire.fire_time, epoch)
                known.advance(write.fire.fire_time)
                self._put(known, known.next_at)

    async def _is_decided(self, write: FireWrite) -> bool:
        at = write.fire.fire_time
        query = FireQuery(schedule_id=write.fire.schedule_id, after=(at, True), limit=1)
        return [fire.fire_time for fire in await self._context.store.schedules.fires(query)] == [at]

    def _seconds_to_next(self) -> float | None:
        while self._queue and self._at_place(*self._queue[0]) is None:
            heappop(self._queue)
        if not self._queue:
            return None
        return (self._queue[0][0] - self._context.clock.now()).total_seconds()


def _write(known: _Known, plan: Planned, fire: Fire, *, alone: bool = False) -> FireWrite:
    times = plan.times()
    place = times.index(fire.fire_time)
    return FireWrite(
        fire=fire,
        version=known.schedule.version,
        after=times[place - 1] if place else known.cursor,
        alone=alone,
        previous=known.last_task_id if alone else None,
    )


def _broken(write: FireWrite, message: str) -> FireWrite:
    fire = Fire(
        schedule_id=write.fire.schedule_id,
        fire_time=write.fire.fire_time,
        outcome=Outcome.DENIED,
        at=write.fire.at,
        message=message,
    )
    return FireWrite(fire=fire, version=write.version, after=write.after)


def _is_there(tasks: Mapping[str, Task], known: _Known) -> bool:
    task = tasks.get(known.last_task_id or "")
    return task is not None and not task.status.is_terminal
