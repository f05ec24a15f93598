"""Fires schedules: each of their times is decided once, by whoever leads."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from operator import is_

from podling.core.errors import Forbidden, InvalidInput, TooManyRequests
from podling.core.lifecycle import Cancel
from podling.core.schedule import (
    Fire,
    FireWrite,
    Outcome,
    Overlap,
    Planned,
    acting,
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
from podling.kit.ids import new_id
from podling.kit.wakeup import Wakeup
from podling.master.committer import Applied, Happening
from podling.master.context import MasterContext
from podling.master.inserts import Insert
from podling.master.loops.known_schedules import Known, KnownSchedules
from podling.master.operations.admission import check, let_in
from podling.master.operations.tasks import insert_of, new_task
from podling.store.ports.schedules import FireQuery

_log = logging.getLogger(__name__)

PAGE = 1000  # schedules in one pass
AT_A_TIME = 50  # decided before others have a turn
LOOK_SECONDS = 5.0  # the hint that a schedule was changed may be lost
WAIT_SECONDS = 1.0  # so may the news that a task has ended which is being replaced


@dataclass(slots=True)
class _Decided:
    known: Known
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
        self._schedules = KnownSchedules(context.store.schedules)
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
                known = self._schedules.get(self._awaited.pop(item.after.task_id))
                if known is not None:
                    self._schedules.put(known, self._context.clock.now())
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
        self._look_at = 0.0
        self._schedules.forget()
        self._awaited = {}

    # What there is

    async def _look(self, epoch: int) -> None:
        if self._context.clock.monotonic() < self._look_at:
            return
        self._look_at = self._context.clock.monotonic() + LOOK_SECONDS
        await self._schedules.learn()
        await self._correct(epoch)

    async def _correct(self, epoch: int) -> None:
        """Go on from now where the clock was far ahead; what has been fired since is not fired again."""
        now = self._context.clock.now()
        ahead = [
            known.schedule.schedule_id
            for known in self._schedules.all()
            if corrected(known.cursor, now) != known.cursor
        ]
        if ahead:
            _log.warning("the clock went back by hours: %d schedules go on from now", len(ahead))
            await self._context.store.schedules.set_cursor(ahead, now, epoch)
            await self._schedules.learn_anew()

    # What is due

    async def _fire(self, epoch: int) -> None:
        now = self._context.clock.now()
        chosen = self._schedules.take_due(now, self._page)
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

    async def _decide_all(self, chosen: Sequence[Known], now: datetime) -> list[_Decided]:
        previous = await self._previous(chosen)
        decided = []
        for index, known in enumerate(chosen):
            decided.append(await self._decide(known, previous, now))
            if index % AT_A_TIME == AT_A_TIME - 1:
                await asyncio.sleep(0)
        return decided

    async def _previous(self, chosen: Sequence[Known]) -> Mapping[str, Task]:
        """Return the last tasks of those whose tasks run alone; stop those that are to be replaced."""
        alone = [known for known in chosen if known.schedule.runs_alone and known.last_task_id is not None]
        if not alone:
            return {}
        tasks = dict(await self._context.store.load_tasks([known.last_task_id or "" for known in alone]))
        replaced = {
            known.last_task_id or "": Cancel(
                actor=acting(known.schedule), reason=f"schedule {known.schedule.name} fired again"
            )
            for known in alone
            if known.schedule.overlap is Overlap.REPLACE and _is_there(tasks, known)
        }
        stops = [Happening(task_id, stop) for task_id, stop in replaced.items()]
        answers = await self._context.committer.apply_as_leader(stops)
        return tasks | {answer.task_id: answer for answer in answers if isinstance(answer, Task)}

    async def _decide(self, known: Known, tasks: Mapping[str, Task], now: datetime) -> _Decided:
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

    async def _admitted(self, known: Known) -> TaskSpec:
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

    async def _let_in(self, known: Known, plan: Planned, spec: TaskSpec, now: datetime) -> Planned:
        """Return the plan with as many starts as the queue takes in this minute."""
        for count in range(len(plan.start)):
            try:
                await let_in(self._context, spec, known.entry())
            except TooManyRequests as error:
                return denied(known.schedule, plan, now, error.message, let_in=count)
        return plan

    def _insert(self, known: Known, plan: Planned, spec: TaskSpec, at: datetime, now: datetime) -> Insert:
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
            events=(fired_event(schedule, fire),),
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
            self._schedules.put(known, now + timedelta(seconds=WAIT_SECONDS))
            return
        if item.inserts:
            known.last_task_id = item.inserts[-1].task.task_id
        known.advance(reached[-1])
        self._schedules.put(known, known.next_at)

    async def _go_past(self, refused: Sequence[FireWrite], epoch: int) -> None:
        """Read anew what others have changed; leave behind what was decided before a clock went back."""
        await self._schedules.learn_anew()
        for write in refused:
            known = self._schedules.get(write.fire.schedule_id)
            if known is not None and known.cursor < write.fire.fire_time and await self._is_decided(write):
                key = write.fire.schedule_id
                await self._context.store.schedules.set_cursor([key], write.fire.fire_time, epoch)
                known.advance(write.fire.fire_time)
                self._schedules.put(known, known.next_at)

    async def _is_decided(self, write: FireWrite) -> bool:
        at = write.fire.fire_time
        query = FireQuery(schedule_id=write.fire.schedule_id, after=(at, True), limit=1)
        return [fire.fire_time for fire in await self._context.store.schedules.fires(query)] == [at]

    def _seconds_to_next(self) -> float | None:
        next_at = self._schedules.next_at()
        return None if next_at is None else (next_at - self._context.clock.now()).total_seconds()


def _write(known: Known, plan: Planned, fire: Fire, *, alone: bool = False) -> FireWrite:
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


def _is_there(tasks: Mapping[str, Task], known: Known) -> bool:
    task = tasks.get(known.last_task_id or "")
    return task is not None and not task.status.is_terminal
