"""Schedules: made, changed, paused, run by hand, removed; what each has done and will do."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from podling.core.access import Principal
from podling.core.cron import Cron
from podling.core.errors import Conflict, IdempotencyMismatch, InvalidInput, NotFound, PolicyDenied
from podling.core.lifecycle import Cancel
from podling.core.page import Place
from podling.core.schedule import (
    MOST_SCHEDULES,
    NEXT_SHOWN,
    Fire,
    FireWrite,
    Outcome,
    Overlap,
    Schedule,
    ScheduleEntry,
    ScheduleRule,
    check_schedule,
    digest_of,
    fired_event,
    fires_after,
    ruled,
)
from podling.core.spec import TaskSpec
from podling.core.task import Task
from podling.kit.ids import new_id
from podling.master.context import MasterContext
from podling.master.operations.admission import SCHEDULE, Entry, check, let_in
from podling.master.operations.tasks import hash_of, insert_of, new_task
from podling.store.ports.schedules import FireQuery
from podling.wire.schedules import in_task


async def create(
    context: MasterContext,
    rule: ScheduleRule,
    task: TaskSpec,
    actor: Principal,
    *,
    after: datetime | None = None,
) -> ScheduleEntry:
    """Have it fire from now on, or from `after` on, which another cluster has fired.

    Raises InvalidInput, PolicyDenied, Conflict if the name is taken.
    """
    now = context.clock.now()
    blank = Schedule(
        schedule_id=context.new_id(),
        name=rule.name,
        cron=rule.cron,
        task=task,
        created_at=now,
        updated_at=now,
    )
    schedule = await _checked(context, ruled(rule, blank), actor)
    number, _ = await context.store.schedules.revision()
    if number >= MOST_SCHEDULES:
        raise Conflict(f"there are {MOST_SCHEDULES} schedules, which is the most", code="too_many_schedules")
    begin = now if after is None else fires_after(after, now)
    if await context.store.schedules.add(schedule, begin) is None:
        raise _name_taken(rule.name)
    return await get(context, schedule.schedule_id)


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"there is a schedule {name} already; choose another name, or change that one",
        code="schedule_exists",
        details={"name": name},
    )


async def _checked(context: MasterContext, schedule: Schedule, actor: Principal) -> Schedule:
    """Return it in the actor's name, if that may submit its task."""
    check_schedule(schedule, context.clock.now())
    try:
        await check(context, schedule.task, Entry(actor=actor, door=SCHEDULE))
    except (InvalidInput, PolicyDenied) as error:
        raise in_task(error) from None
    return replace(schedule, owner=actor.name, roles=tuple(sorted(actor.roles)))


async def get(context: MasterContext, id_or_name: str) -> ScheduleEntry:
    """Raises NotFound."""
    found = await context.store.schedules.find(id_or_name)
    if found is None:
        raise NotFound.of("schedule")
    return found


async def list_(context: MasterContext, after: Place | None, limit: int) -> Sequence[ScheduleEntry]:
    return await context.store.schedules.load(after, limit)


async def change(
    context: MasterContext, id_or_name: str, rule: ScheduleRule, task: TaskSpec, actor: Principal
) -> ScheduleEntry:
    """Replace all of it; from then on it is the actor's. Raises as `create`, and NotFound."""
    known = (await get(context, id_or_name)).schedule
    if rule.name != known.name and await context.store.schedules.find(rule.name) is not None:
        raise _name_taken(rule.name)
    schedule = await _checked(context, ruled(rule, replace(known, task=task)), actor)
    return await _keep(context, known, schedule)


async def set_paused(context: MasterContext, id_or_name: str, paused: bool) -> ScheduleEntry:
    """Raises NotFound, Conflict. What would have fired meanwhile is not made up for."""
    entry = await get(context, id_or_name)
    if entry.schedule.paused == paused:
        return entry
    return await _keep(context, entry.schedule, replace(entry.schedule, paused=paused))


async def _keep(context: MasterContext, known: Schedule, schedule: Schedule) -> ScheduleEntry:
    now = context.clock.now()
    fires_otherwise = (known.cron, known.time_zone) != (schedule.cron, schedule.time_zone)
    starts_anew = fires_otherwise or (known.paused and not schedule.paused)
    changed = replace(schedule, updated_at=now)
    if await context.store.schedules.change(changed, now if starts_anew else None) is None:
        raise Conflict("somebody else has just changed this schedule; look at it, and try again")
    return await get(context, schedule.schedule_id)


async def remove(context: MasterContext, id_or_name: str) -> None:
    """Its tasks go on. Raises NotFound."""
    known = (await get(context, id_or_name)).schedule
    if not await context.store.schedules.remove(known.schedule_id):
        raise NotFound.of("schedule")


async def run(
    context: MasterContext, id_or_name: str, override: Callable[[TaskSpec], TaskSpec], actor: Principal
) -> tuple[Task, bool]:
    """Start its task now, perhaps with other fields, by what the actor may do; return it, and whether it is
    new: an idempotency key gives the same task again.

    Raises NotFound, InvalidInput, PolicyDenied, IdempotencyMismatch, Conflict where its tasks run alone and
    one still runs.
    """
    entry = await get(context, id_or_name)
    schedule, door = entry.schedule, Entry(actor=actor, door=SCHEDULE)
    keyed = await check(context, override(schedule.task), door)
    spec, key = replace(keyed, idempotency_key=None), keyed.idempotency_key
    task_id = context.new_id() if key is None else _run_id(schedule, key)
    if key is not None and (earlier := await _earlier(context, task_id, spec)) is not None:
        return earlier, False
    await let_in(context, spec, door)
    if schedule.runs_alone:
        await _make_room(context, entry)
    answer = await _run(context, entry, new_task(task_id, spec, context.clock.now()))
    if answer is None and key is not None and (earlier := await _earlier(context, task_id, spec)) is not None:
        return earlier, False
    if answer is None:
        raise Conflict("the schedule has just fired or was changed; look at it, and try again")
    return answer, True


def _run_id(schedule: Schedule, key: str) -> str:
    return new_id(schedule.created_at, lambda _: digest_of(schedule, key))


async def _earlier(context: MasterContext, task_id: str, spec: TaskSpec) -> Task | None:
    """Return the task that was started under the same key. Raises IdempotencyMismatch."""
    task = (await context.store.load_tasks([task_id])).get(task_id)
    if task is not None and hash_of(task.spec) != hash_of(spec):
        raise IdempotencyMismatch(
            "the idempotency key was used to run this schedule with another task; use a new key",
            details={"taskId": task_id},
        )
    return task


async def _run(context: MasterContext, entry: ScheduleEntry, task: Task) -> Task | None:
    """Insert the task and the record of its fire; None if the schedule is not what it was any more."""
    schedule, now = entry.schedule, task.created_at
    fire = Fire(
        schedule_id=schedule.schedule_id,
        fire_time=now,
        outcome=Outcome.STARTED,
        at=now,
        task_id=task.task_id,
        manual=True,
    )
    write = FireWrite(
        fire=fire, version=schedule.version, alone=schedule.runs_alone, previous=entry.state.last_task_id
    )
    events = (fired_event(schedule, fire),)
    answer = await context.committer.insert(insert_of(context, task, fire=write, events=events))
    return answer if isinstance(answer, Task) else None


async def _make_room(context: MasterContext, entry: ScheduleEntry) -> None:
    task_id = entry.state.last_task_id
    last = None if task_id is None else (await context.store.load_tasks([task_id])).get(task_id)
    if last is None or last.status.is_terminal:
        return
    if entry.schedule.overlap is Overlap.REPLACE:
        last = await context.committer.apply(last.task_id, Cancel(reason="the schedule was run by hand"))
        if last.status.is_terminal:
            return
    doing = "being stopped" if entry.schedule.overlap is Overlap.REPLACE else "running"
    raise Conflict(
        f"its last task {last.task_id} has not ended, and they run one at a time: it is {doing}; try again"
        " when it has ended",
        code="schedule_overlap",
        details={"taskId": last.task_id},
    )


async def fires(context: MasterContext, id_or_name: str, query: FireQuery) -> Sequence[Fire]:
    """Return what was decided of its fire times, newest first. Raises NotFound."""
    known = (await get(context, id_or_name)).schedule
    return await context.store.schedules.fires(replace(query, schedule_id=known.schedule_id))


def next_fires(context: MasterContext, entry: ScheduleEntry) -> list[datetime]:
    """Return when it fires next; nothing while it is paused, or where its zone is no more."""
    if entry.schedule.paused:
        return []
    begin = max(entry.state.cursor, context.clock.now())
    try:
        return Cron(entry.schedule.cron, entry.schedule.time_zone, now=begin).next(begin, NEXT_SHOWN)
    except InvalidInput:  # the leader's log says so
        return []
