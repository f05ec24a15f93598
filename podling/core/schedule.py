"""Schedules: cron rules that submit tasks, and what is decided of each time at which one fires."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from podling.core.access import Role
from podling.core.cron import Cron
from podling.core.errors import InvalidInput
from podling.core.fields import check_identifier, check_number
from podling.core.spec import TaskSpec
from podling.core.task import Task, TaskEvent, TaskStatus
from podling.core.transition import Actor
from podling.core.value import value

MOST_SCHEDULES = 10_000
MOST_CATCH_UP = 1000
MOST_JITTER_SECONDS = 86400.0
NEXT_SHOWN = 5
ON_TIME = timedelta(seconds=60)
"""What is no later than this was not missed: a leader may be killed, and another one take over."""

CORRECTED = timedelta(hours=3)
"""A clock that goes back by more was wrong before, as for Debian's cron; by less, it is waited for."""

FIRED = "schedule_fired"
"""The event that begins the timeline of a schedule's task."""

_LISTED_MISSED = 100
DIGEST_BITS = 74


class Overlap(StrEnum):
    """What a fire does while the task of an earlier one has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    REPLACE = "replace"


class CatchUp(StrEnum):
    """Which fires are made up for that were missed while no master ran."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Outcome(StrEnum):
    STARTED = "started"
    SKIPPED = "skipped"
    MISSED = "missed"
    DENIED = "denied"


@value
class ScheduleRule:
    """What a person may say of a schedule, beside its task. `paused` None leaves it as it is."""

    name: str
    cron: str
    time_zone: str = "UTC"
    overlap: Overlap = Overlap.ALLOW
    catch_up: CatchUp = CatchUp.LAST
    max_catch_up: int = 100
    jitter_seconds: float = 0.0
    paused: bool | None = None


@value
class Schedule:
    """A rule as it was accepted. `version` is new with every change that a person makes.

    Its tasks are submitted in the name of `owner`, with what the `roles` may do.
    """

    schedule_id: str
    name: str
    cron: str
    task: TaskSpec
    time_zone: str = "UTC"
    overlap: Overlap = Overlap.ALLOW
    catch_up: CatchUp = CatchUp.LAST
    max_catch_up: int = 100
    jitter_seconds: float = 0.0
    paused: bool = False
    owner: str = ""
    roles: tuple[Role, ...] = ()
    created_at: datetime
    updated_at: datetime
    version: int = 0

    @property
    def runs_alone(self) -> bool:
        return self.overlap is not Overlap.ALLOW


@value
class Fire:
    """What was decided of one fire time; `manual` is one that a person asked for, at that moment.

    `count` is more than one where so many were missed up to that time that they are not told one by one.
    """

    schedule_id: str
    fire_time: datetime
    outcome: Outcome
    at: datetime
    task_id: str | None = None
    message: str | None = None
    manual: bool = False
    count: int = 1


@value
class ScheduleState:
    """How far a schedule has come: all its times up to `cursor` are decided."""

    cursor: datetime
    last_task_id: str | None = None
    last: Fire | None = None


@value
class ScheduleEntry:
    """A schedule, and how far it has come."""

    schedule: Schedule
    state: ScheduleState


@value
class FireWrite:
    """A decision to be written, if the schedule still is what it was when it was made.

    `after` is the time before it: unless that is decided, too, this one waits, or it would be passed over.
    `previous` is the task that was looked at, for schedules whose tasks run alone.
    """

    fire: Fire
    version: int
    after: datetime | None = None
    alone: bool = False
    previous: str | None = None


@value
class Due:
    """What of the times that have come is to run, and what was missed, both in order."""

    run: tuple[datetime, ...] = ()
    missed: tuple[datetime, ...] = ()
    missed_before: bool = False  # and more than those


@value
class Planned:
    """What is to be written of the times that are due, in this order; each `start` becomes a task."""

    before: tuple[Fire, ...] = ()
    start: tuple[datetime, ...] = ()
    after: tuple[Fire, ...] = ()

    def times(self) -> list[datetime]:
        """Return the times that it decides, in order."""
        before, after = ([fire.fire_time for fire in fires] for fires in (self.before, self.after))
        return [*before, *self.start, *after]


def ruled(rule: ScheduleRule, known: Schedule) -> Schedule:
    """Return the schedule as the rule wants it."""
    paused = known.paused if rule.paused is None else rule.paused
    return replace(
        known,
        name=rule.name,
        cron=rule.cron,
        time_zone=rule.time_zone,
        overlap=rule.overlap,
        catch_up=rule.catch_up,
        max_catch_up=rule.max_catch_up,
        jitter_seconds=rule.jitter_seconds,
        paused=paused,
    )


def check_schedule(schedule: Schedule, now: datetime) -> Cron:
    """Return when it fires. Raises InvalidInput; its task is checked as any other."""
    check_identifier("name", schedule.name)
    check_number("maxCatchUp", schedule.max_catch_up, 1, MOST_CATCH_UP)
    check_number("jitterSeconds", schedule.jitter_seconds, 0, MOST_JITTER_SECONDS, unit=" seconds")
    for name, given in {
        "runAt": schedule.task.run_at,
        "idempotencyKey": schedule.task.idempotency_key,
    }.items():
        if given is not None:
            problem = "has no place in a schedule, which gives its tasks both; leave it out"
            raise InvalidInput.field(f"task.{name}", problem)
    if schedule.task.depends_on:
        problem = "has no place in a schedule: a task to wait for ends once, and a schedule fires on"
        raise InvalidInput.field("task.dependsOn", problem)
    return Cron(schedule.cron, schedule.time_zone, now=now)


def due(schedule: Schedule, cron: Cron, cursor: datetime, now: datetime, *, waited: bool = False) -> Due:
    """Decide which of the times since `cursor` run. `waited`: for the end of an earlier task, not missed."""
    most = schedule.max_catch_up + int(ON_TIME.total_seconds()) + 1 + _LISTED_MISSED
    times, complete = cron.newest(cursor, now, most)
    late = [] if waited else [at for at in times if now - at > ON_TIME]
    on_time = times[len(late) :]
    if not late:
        return Due(run=tuple(on_time))
    made_up: Sequence[datetime] = ()
    if schedule.catch_up is CatchUp.ALL:
        made_up = late[-schedule.max_catch_up :]
    elif schedule.catch_up is CatchUp.LAST:
        made_up, on_time = (late[-1:], []) if not on_time else (on_time[-1:], [])
    run = (*made_up, *on_time)
    missed = tuple(at for at in times if at not in frozenset(run))
    return Due(run=run, missed=missed, missed_before=not complete)


def planned(schedule: Schedule, found: Due, previous: Task | None, now: datetime) -> Planned:
    """Return what becomes of the times that are due; of tasks that run alone `previous` is the last one.

    Where an earlier task has to be replaced first, nothing is to be written yet.
    """
    missed = tuple(_missed(schedule, found, now))
    is_held_up = previous is not None and not previous.status.is_terminal
    if schedule.overlap is Overlap.ALLOW or not found.run:
        return Planned(before=missed, start=found.run)
    if schedule.overlap is Overlap.REPLACE:
        if is_held_up:
            return Planned()
        why = f"the fire of {found.run[-1]:%Y-%m-%d %H:%M:%S} UTC took its place"
        skipped = _fires(schedule, found.run[:-1], Outcome.SKIPPED, now, why)
        return Planned(before=(*missed, *skipped), start=found.run[-1:])
    if is_held_up:
        assert previous is not None
        why = f"task {previous.task_id} of an earlier fire had not ended"
        return Planned(before=missed, after=_fires(schedule, found.run, Outcome.SKIPPED, now, why))
    why = f"the task of the fire of {found.run[0]:%Y-%m-%d %H:%M:%S} UTC was only starting"
    return Planned(
        before=missed,
        start=found.run[:1],
        after=_fires(schedule, found.run[1:], Outcome.SKIPPED, now, why),
    )


def denied(schedule: Schedule, plan: Planned, now: datetime, why: str, *, let_in: int = 0) -> Planned:
    """Return the plan with what would start refused, for this reason, but for the first so many."""
    refused = _fires(schedule, plan.start[let_in:], Outcome.DENIED, now, why)
    return Planned(before=plan.before, start=plan.start[:let_in], after=(*refused, *plan.after))


def _fires(
    schedule: Schedule, times: Sequence[datetime], outcome: Outcome, now: datetime, message: str | None = None
) -> tuple[Fire, ...]:
    return tuple(
        Fire(schedule_id=schedule.schedule_id, fire_time=at, outcome=outcome, at=now, message=message)
        for at in times
    )


def _missed(schedule: Schedule, found: Due, now: datetime) -> list[Fire]:
    """Tell the newest of the missed times one by one, and the others in the oldest of these."""
    fires = list(_fires(schedule, found.missed[-_LISTED_MISSED:], Outcome.MISSED, now))
    untold = len(found.missed) - len(fires)
    if fires and (untold or found.missed_before):
        more = "and at least so many before it" if found.missed_before else "and those before it"
        fires[0] = replace(fires[0], count=untold + 1, message=more)
    return fires


def start_at(schedule: Schedule, fire_time: datetime) -> datetime:
    """Return when its task may start: at its fire time, put off by the same jitter whoever asks."""
    share = digest_of(schedule, fire_time) / (1 << DIGEST_BITS)
    return fire_time + timedelta(seconds=schedule.jitter_seconds * share)


def acting(schedule: Schedule) -> str:
    """Return what the schedule is called where it does something by itself."""
    return f"schedule {schedule.name}"


def fired_event(schedule: Schedule, fire: Fire) -> TaskEvent:
    """Return the line that begins the timeline of a schedule's task."""
    assert fire.task_id is not None
    how = "was run by hand" if fire.manual else f"fired for {fire.fire_time:%Y-%m-%dT%H:%M:%SZ}"
    return TaskEvent(
        task_id=fire.task_id,
        at=fire.at,
        type=FIRED,
        actor=str(Actor.CLIENT) if fire.manual else acting(schedule),
        message=f"schedule {schedule.name} {how}",
        details={"scheduleId": schedule.schedule_id, "schedule": schedule.name},
    )


def corrected(cursor: datetime, now: datetime) -> datetime:
    """Return the cursor, or the present if the clock that it came from was wrong."""
    return now if cursor - now > CORRECTED else cursor


def fires_after(fired: datetime, now: datetime) -> datetime:
    """Return from where a schedule goes on that has fired elsewhere, perhaps by a clock that is ahead."""
    return corrected(max(fired, now), now)


def has_waited(previous: Task, since: datetime) -> bool:
    """Whether a fire at that time had to wait for that task, which it has stopped."""
    return previous.status is TaskStatus.CANCELLED and (previous.finished_at or since) >= since


def digest_of(schedule: Schedule, fire: datetime | str) -> int:
    """Return DIGEST_BITS that are the same for this fire wherever it is asked for, and no other's.

    It is known by its time, or by the key of who runs it by hand.
    """
    told = f"key {fire}" if isinstance(fire, str) else fire.isoformat()
    key = f"{schedule.schedule_id}\0{told}".encode(errors="replace")
    return int.from_bytes(hashlib.sha256(key).digest(), "big") >> (256 - DIGEST_BITS)
