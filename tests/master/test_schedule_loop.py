"""The loop that fires schedules, one pass at a time on a clock that is moved."""

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest

from podling.core.access import LOCAL
from podling.core.errors import StoreUnavailable
from podling.core.lifecycle import Assign, Cancel, Reported
from podling.core.permissions import Policy
from podling.core.protocol import Report, ReportKind
from podling.core.queue import QueuePolicy
from podling.core.schedule import CatchUp, Outcome, Overlap, Schedule, ScheduleRule
from podling.core.spec import ContainerSpec
from podling.core.task import StopReason, Task, TaskStatus
from podling.core.timeline import timeline
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.master.loops.election import Election
from podling.master.loops.schedules import ScheduleLoop
from podling.master.operations import queues, schedules
from podling.store.base import TaskQuery
from podling.store.ports.decisions import DecisionQuery
from podling.store.ports.schedules import FireQuery, Schedules
from tests.builders import at, build_spec, seconds
from tests.master.world import Faulty, World, away

MINUTE = 60


async def make(context: MasterContext, name: str = "minutely", **fields: Any) -> Schedule:
    spec = fields.pop("task", build_spec(name=name))
    rule = ScheduleRule(**({"name": name, "cron": "* * * * *"} | fields))
    return (await schedules.create(context, rule, spec, LOCAL)).schedule


async def tasks_of(world: World, name: str = "minutely") -> list[Task]:
    return list(reversed(await world.store.list_tasks(TaskQuery(name=name))))


async def fires_of(world: World, schedule: Schedule) -> list[tuple[str, float]]:
    """Return outcomes with the seconds since the beginning, oldest first."""
    found = await world.store.schedules.fires(FireQuery(schedule_id=schedule.schedule_id))
    return [(str(fire.outcome), (fire.fire_time - at(0)).total_seconds()) for fire in reversed(found)]


async def end(context: MasterContext, task: Task) -> None:
    await context.committer.apply(task.task_id, Cancel())


async def test_it_sleeps_until_the_next_time_and_fires_once(world: World) -> None:
    context = await world.leader()
    loop = ScheduleLoop(context)
    schedule = await make(context)
    assert await loop.run_once() == pytest.approx(MINUTE)
    world.clock.passed += MINUTE - 1
    assert await loop.run_once() == pytest.approx(1)
    assert await tasks_of(world) == []
    world.clock.passed += 1
    assert await loop.run_once() == pytest.approx(MINUTE)
    (task,) = await tasks_of(world)
    assert task.spec == schedule.task and task.status is TaskStatus.PENDING
    (event,) = await world.store.load_events(task.task_id)
    assert event.type == "schedule_fired" and "minutely" in event.message
    submitted = timeline(task, [], [event])[0]
    assert (submitted.type, submitted.actor) == ("submitted", "schedule minutely")
    await loop.run_once()
    assert len(await tasks_of(world)) == 1


async def test_no_leader_fires_nothing(world: World) -> None:
    context = world.context()
    await make(context)
    world.clock.passed += 5 * MINUTE
    assert await ScheduleLoop(context).run_once() is None
    assert await tasks_of(world) == []


async def test_a_leader_that_was_stopped_in_between_doubles_nothing(world: World) -> None:
    one = await world.leader("one")
    schedule, old = await make(one), ScheduleLoop(one)
    await old.run_once()
    world.clock.passed += MINUTE
    two = world.context("two")
    election = Election(two)
    await election.run_once()
    world.clock.passed += 11  # a lease: the second one takes over, and the first one does not know
    await election.run_once()
    assert two.leads and one.leads
    await ScheduleLoop(two).run_once()
    with pytest.raises(Exception, match="lead"):
        await old.run_once()
    assert len(await tasks_of(world)) == 1 and await fires_of(world, schedule) == [("started", MINUTE)]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_of_unknown_outcome_is_one_fire(world: World, when: str) -> None:
    store = Faulty(world.store)
    context = await world.leader("one", store)
    schedule, loop = await make(context), ScheduleLoop(context)
    await loop.run_once()
    world.clock.passed += MINUTE
    getattr(store, when)["commit"] = away
    with pytest.raises(StoreUnavailable):
        await loop.run_once()
    getattr(store, when).clear()
    await loop.run_once()
    assert len(await tasks_of(world)) == 1 and await fires_of(world, schedule) == [("started", MINUTE)]


async def test_a_commit_that_fails_between_two_passes_over_no_time(world: World) -> None:
    """The fires of one schedule may be spread over two commits, of which the first one fails."""
    store = Faulty(world.store)
    context = await world.leader("one", store)
    schedule = await make(context, cron="* * * * * *", catch_up=CatchUp.ALL, max_catch_up=1000)
    await ScheduleLoop(context).run_once()
    world.clock.passed += 600  # more than one commit takes
    failures = 0

    async def fail_first() -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            await away()

    store.before["commit"] = fail_first
    loop = ScheduleLoop(context)
    with pytest.raises(StoreUnavailable):
        await loop.run_once()
    await loop.run_once()
    fired = await fires_of(world, schedule)
    assert [passed for _, passed in fired] == list(range(101, 601))  # the newest page
    assert (await world.store.count_tasks())[TaskStatus.PENDING] == 600


@pytest.mark.parametrize(("catch_up", "started"), [("none", []), ("last", [4]), ("all", [2, 3, 4])])
async def test_after_a_time_without_leader_the_missed_are_recorded(
    world: World, catch_up: str, started: list[int]
) -> None:
    context = await world.leader()
    schedule = await make(context, cron="*/5 * * * *", catch_up=CatchUp(catch_up), max_catch_up=3)
    world.clock.passed += 22 * MINUTE
    await ScheduleLoop(context).run_once()
    wanted = {5 * MINUTE * n: "started" if n in started else "missed" for n in (1, 2, 3, 4)}
    assert await fires_of(world, schedule) == [(outcome, passed) for passed, outcome in wanted.items()]
    assert len(await tasks_of(world)) == len(started)


async def test_skip_records_what_it_left_out(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context, overlap=Overlap.SKIP), ScheduleLoop(context)
    for _ in range(2):
        world.clock.passed += MINUTE
        await loop.run_once()
    (task,) = await tasks_of(world)
    await end(context, task)
    world.clock.passed += MINUTE
    await loop.run_once()
    assert await fires_of(world, schedule) == [("started", 60), ("skipped", 120), ("started", 180)]


async def test_replace_stops_the_earlier_one_and_starts_when_it_has_ended(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context, overlap=Overlap.REPLACE), ScheduleLoop(context)
    world.clock.passed += MINUTE
    await loop.run_once()
    (first,) = await tasks_of(world)
    await _run(context, first)
    world.clock.passed += MINUTE
    await loop.run_once()
    (stopping,) = await tasks_of(world)
    assert stopping.stop_reason is not None and stopping.status is TaskStatus.RUNNING
    world.clock.passed += 2 * MINUTE  # it takes longer to stop than the next fires
    await loop.run_once()
    await _end_stopped(context, stopping)
    assert await loop.run_once() == pytest.approx(MINUTE)
    old, new = await tasks_of(world)
    assert old.status is TaskStatus.CANCELLED and new.status is TaskStatus.PENDING
    assert await fires_of(world, schedule) == [
        *(("started", 60), ("skipped", 120), ("skipped", 180), ("started", 240))
    ]


async def test_a_pending_one_is_replaced_at_once(world: World) -> None:
    context = await world.leader()
    await make(context, overlap=Overlap.REPLACE)
    loop = ScheduleLoop(context)
    for _ in range(3):
        world.clock.passed += MINUTE
        await loop.run_once()
    tasks = await tasks_of(world)
    assert Counter(task.status for task in tasks) == {"cancelled": 2, "pending": 1}
    end = timeline(tasks[0], [], await world.store.load_events(tasks[0].task_id))[-1]
    assert (end.type, end.actor) == ("cancelled", "schedule minutely")


async def test_a_clock_set_back_an_hour_fires_nothing_twice(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context), ScheduleLoop(context)
    for _ in range(2):
        world.clock.passed += MINUTE
        await loop.run_once()
    world.clock.stepped -= 3600
    for _ in range(60):
        world.clock.passed += MINUTE
        await loop.run_once()
    assert await fires_of(world, schedule) == [("started", 60), ("started", 120)]
    world.clock.passed += MINUTE
    await loop.run_once()
    assert len(await tasks_of(world)) == 3


async def test_a_clock_set_forward_an_hour_is_caught_up_with(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context, cron="*/20 * * * *", catch_up=CatchUp.ALL), ScheduleLoop(context)
    await loop.run_once()
    world.clock.stepped += 3600
    await loop.run_once()
    assert [outcome for outcome, _ in await fires_of(world, schedule)] == ["started"] * 3


async def test_a_clock_that_was_years_ahead_for_a_while_stops_nothing(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context, catch_up=CatchUp.NONE), ScheduleLoop(context)
    world.clock.passed += MINUTE
    await loop.run_once()
    world.clock.stepped += 10 * 365 * 86400
    await loop.run_once()
    world.clock.stepped = -30.0  # before the fire that there was
    for _ in range(3):
        world.clock.passed += MINUTE
        await loop.run_once()
    started = [passed for outcome, passed in await fires_of(world, schedule) if outcome == "started"]
    assert started[:3] == [60, 120, 180] and len(await tasks_of(world)) == len(started)


async def test_what_the_policy_denies_at_a_fire_is_told_and_runs_again_when_it_may(world: World) -> None:
    context = await world.leader()
    risky = build_spec(name="minutely", containers=(ContainerSpec(image="busybox:local", privileged=True),))
    context.policy = context.policy.replaced(Policy(privileged=True), world.clock.now())
    schedule, loop = await make(context, task=risky), ScheduleLoop(context)
    context.policy = context.policy.replaced(Policy(), world.clock.now())
    world.clock.passed += MINUTE
    await loop.run_once()
    entry = await schedules.get(context, "minutely")
    assert entry.state.last is not None and entry.state.last.outcome is Outcome.DENIED
    assert "privileged" in str(entry.state.last.message)
    await context.decisions.run_once()
    (decision,) = await world.store.decisions.find(DecisionQuery())
    assert (decision.door, decision.actor, decision.code) == ("schedule", "local", "policy_denied")
    context.policy = context.policy.replaced(Policy(privileged=True), world.clock.now())
    world.clock.passed += MINUTE
    await loop.run_once()
    assert await fires_of(world, schedule) == [("denied", 60), ("started", 120)]


async def test_what_a_queue_takes_no_more_of_is_denied_and_holds_up_no_other(world: World) -> None:
    context = await world.leader()
    await queues.put(context, "slow", QueuePolicy(max_submits_per_minute=2))
    second = {"cron": "* * * * * *", "catch_up": CatchUp.ALL}
    slow = await make(context, "slow", task=build_spec(name="slow", queue="slow"), **second)
    other, loop = await make(context, "other", **second), ScheduleLoop(context)
    world.clock.passed += 3
    await loop.run_once()
    assert await fires_of(world, slow) == [("started", 1), ("started", 2), ("denied", 3)]
    world.clock.passed += 1
    await loop.run_once()
    assert (await fires_of(world, slow))[3:] == [("denied", 4)]
    assert await fires_of(world, other) == [("started", each) for each in (1, 2, 3, 4)]
    await context.decisions.run_once()
    (decision,) = await world.store.decisions.find(DecisionQuery())
    assert (decision.door, decision.code, decision.count) == ("schedule", "ENQUEUE_RATE_EXCEEDED", 2)


async def test_a_larger_limit_of_its_queue_lets_a_schedule_s_task_in(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context), ScheduleLoop(context)
    for limit in (10, None):
        await queues.put(context, "default", QueuePolicy(max_payload_bytes=limit))
        world.clock.passed += MINUTE
        await loop.run_once()
    assert await fires_of(world, schedule) == [("denied", 60), ("started", 120)]


async def test_changes_are_seen_without_any_hint(world: World) -> None:
    context = await world.leader()
    loop = ScheduleLoop(context)
    await loop.run_once()
    schedule = await make(context)
    world.clock.passed += MINUTE
    await loop.run_once()
    await schedules.set_paused(context, "minutely", True)
    loop.changed()
    world.clock.passed += 5 * MINUTE
    await loop.run_once()
    await schedules.set_paused(context, "minutely", False)
    world.clock.passed += MINUTE
    await loop.run_once()
    await schedules.remove(context, "minutely")
    world.clock.passed += MINUTE
    await loop.run_once()
    assert len(await tasks_of(world)) == 2
    assert await world.store.schedules.fires(FireQuery(schedule_id=schedule.schedule_id)) == []


async def test_of_many_schedules_only_what_has_changed_is_read(world: World) -> None:
    context = await world.leader()
    loop, real, read = ScheduleLoop(context), world.store.schedules, list[str]()

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        async def news(self, version: int) -> Any:
            revision, entries = await real.news(version)
            read.extend(entry.schedule.name for entry in entries)
            return revision, entries

        async def load(self) -> Any:
            entries = await real.load()
            read.extend(entry.schedule.name for entry in entries)
            return entries

    loop._schedules._schedules = cast(Schedules, Counting())
    names = [f"schedule-{number}" for number in range(20)]
    for name in names:
        await make(context, name)
        loop.changed()
        await loop.run_once()
    assert read == names
    await schedules.set_paused(context, names[3], True)
    loop.changed()
    await loop.run_once()
    assert read.pop() == names[3]
    await schedules.remove(context, names[7])
    loop.changed()
    world.clock.passed += MINUTE
    await loop.run_once()
    fired = {task.spec.name for task in await world.store.list_tasks(TaskQuery())}
    assert fired == {*names} - {names[3], names[7]}
    assert len(read) == 20  # what has gone has nothing read


async def test_jitter_puts_the_start_off_and_nothing_else(world: World) -> None:
    context = await world.leader()
    schedule, loop = await make(context, jitter_seconds=20.0), ScheduleLoop(context)
    world.clock.passed += MINUTE
    await loop.run_once()
    (task,) = await tasks_of(world)
    assert at(MINUTE) < task.run_at < at(MINUTE) + seconds(20)
    assert await fires_of(world, schedule) == [("started", MINUTE)]


async def test_hundreds_of_schedules_of_every_second_need_a_few_commits(world: World) -> None:
    store = Faulty(world.store)
    context = await world.leader("one", store)
    first = await make(context, cron="* * * * * *")
    for number in range(599):
        one = replace(first, schedule_id=f"id-{number}", name=f"n{number}")
        assert await world.store.schedules.add(one, world.clock.now()) is not None
    commits = Counter[str]()

    async def count() -> None:
        commits["all"] += 1

    store.before["commit"] = count
    loop = ScheduleLoop(context)
    for _ in range(2):
        world.clock.passed += 1
        await loop.run_once()
    assert (await world.store.count_tasks())[TaskStatus.PENDING] == 1200
    assert commits["all"] <= 2 * 3


async def _run(context: MasterContext, task: Task) -> None:
    await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="node-1"))])
    report = Report(
        sequence=1, task_id=task.task_id, attempt=1, kind=ReportKind.RUNNING, at=context.clock.now()
    )
    await context.committer.apply(task.task_id, Reported(report=report, node_id="node-1"))


async def _end_stopped(context: MasterContext, task: Task) -> None:
    report = Report(
        sequence=2,
        task_id=task.task_id,
        attempt=1,
        kind=ReportKind.ENDED,
        at=context.clock.now(),
        finished_at=context.clock.now(),
        stopped_by=StopReason.CANCEL,
        error_code="CANCELLED",
    )
    await context.committer.apply(task.task_id, Reported(report=report, node_id="node-1"))
