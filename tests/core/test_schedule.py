"""What is decided of each time at which a schedule fires."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from podling.core.cron import Cron
from podling.core.errors import InvalidInput
from podling.core.schedule import (
    CORRECTED,
    CatchUp,
    Outcome,
    Overlap,
    Planned,
    Schedule,
    check_schedule,
    corrected,
    denied,
    due,
    has_waited,
    planned,
    start_at,
)
from podling.core.task import Task, TaskStatus
from tests.builders import NOW, build_spec, build_task

HOUR = timedelta(hours=1)


def schedule(**fields: Any) -> Schedule:
    defaults = {"schedule_id": "s", "name": "hourly", "cron": "0 * * * *", "task": build_spec()}
    return Schedule(**(defaults | {"created_at": NOW, "updated_at": NOW} | fields))


def plan(wanted: Schedule, since: datetime, now: datetime, previous: Task | None = None) -> Planned:
    found = due(wanted, Cron(wanted.cron, now=NOW), since, now)
    return planned(wanted, found, previous, now)


def test_a_fire_within_a_minute_is_on_time_whatever_the_catch_up() -> None:
    for catch_up in CatchUp:
        wanted = schedule(catch_up=catch_up)
        assert plan(wanted, NOW, NOW + HOUR + timedelta(seconds=59)) == Planned(start=(NOW + HOUR,))
        assert plan(wanted, NOW + HOUR, NOW + HOUR + timedelta(seconds=59)) == Planned()


@pytest.mark.parametrize(
    ("catch_up", "started", "missed"),
    [
        ("none", [], [1, 2, 3, 4, 5]),
        ("last", [5], [1, 2, 3, 4]),
        ("all", [3, 4, 5], [1, 2]),
    ],
)
def test_after_a_time_without_masters_catch_up_says_what_runs(
    catch_up: str, started: list[int], missed: list[int]
) -> None:
    wanted = schedule(catch_up=CatchUp(catch_up), max_catch_up=3)
    found = plan(wanted, NOW, NOW + 5.5 * HOUR)
    assert found.start == tuple(NOW + hours * HOUR for hours in started)
    assert [fire.fire_time for fire in found.before] == [NOW + hours * HOUR for hours in missed]
    assert {fire.outcome for fire in found.before} == {Outcome.MISSED}


def test_none_still_runs_what_is_on_time_and_last_no_more_than_one() -> None:
    now = NOW + 3 * HOUR + timedelta(seconds=5)
    for catch_up in (CatchUp.NONE, CatchUp.LAST):
        assert plan(schedule(catch_up=catch_up), NOW, now).start == (NOW + 3 * HOUR,)


def test_years_of_seconds_are_caught_up_with_in_a_few_records() -> None:
    wanted = schedule(cron="* * * * * *", catch_up=CatchUp.ALL, max_catch_up=5)
    now = NOW + timedelta(days=3000)
    found = plan(wanted, NOW, now)
    assert found.start[-1] == now and len(found.start) == 5 + 61
    assert 0 < len(found.before) <= 100 and found.before[0].message is not None
    assert "before it" in found.before[0].message


def test_skip_leaves_a_running_task_alone_and_starts_one_at_a_time() -> None:
    wanted = schedule(overlap=Overlap.SKIP, catch_up=CatchUp.ALL)
    now, running = NOW + 2 * HOUR, build_task(status=TaskStatus.RUNNING)
    found = plan(wanted, NOW, now, running)
    assert found.start == () and [fire.outcome for fire in found.after] == [Outcome.SKIPPED] * 2
    assert running.task_id in str(found.after[0].message)
    found = plan(wanted, NOW, now, replace(running, status=TaskStatus.COMPLETED))
    assert found.start == (NOW + HOUR,) and [fire.fire_time for fire in found.after] == [now]


def test_replace_waits_for_the_end_of_the_earlier_and_runs_the_newest() -> None:
    wanted = schedule(overlap=Overlap.REPLACE, catch_up=CatchUp.ALL)
    now, running = NOW + 2 * HOUR, build_task(status=TaskStatus.RUNNING)
    assert plan(wanted, NOW, now, running) == Planned()
    found = plan(wanted, NOW, now, replace(running, status=TaskStatus.CANCELLED))
    assert found.start == (now,) and [fire.outcome for fire in found.before] == [Outcome.SKIPPED]


def test_what_waited_for_the_end_of_another_was_not_missed() -> None:
    wanted, now = schedule(overlap=Overlap.REPLACE, catch_up=CatchUp.NONE), NOW + 1.5 * HOUR
    stopped = build_task(status=TaskStatus.CANCELLED, finished_at=now)
    assert has_waited(stopped, NOW + HOUR)
    assert not has_waited(replace(stopped, finished_at=NOW), NOW + HOUR)
    assert not has_waited(replace(stopped, status=TaskStatus.FAILED), NOW + HOUR)
    cron = Cron(wanted.cron, now=NOW)
    assert due(wanted, cron, NOW, now, waited=True).run == (NOW + HOUR,)
    assert due(wanted, cron, NOW, now).run == ()


def test_a_denial_is_told_of_each_time() -> None:
    refused = denied(schedule(), plan(schedule(), NOW, NOW + HOUR), NOW + HOUR, "no")
    (fire,) = refused.after
    assert refused.start == () and (fire.outcome, fire.message) == (Outcome.DENIED, "no")


def test_what_was_let_in_before_a_denial_starts_and_the_times_stay_in_order() -> None:
    wanted, now = schedule(catch_up=CatchUp.ALL), NOW + 4 * HOUR
    found = plan(wanted, NOW, now)
    some = denied(wanted, found, now, "no", let_in=3)
    assert some.start == found.start[:3] and [fire.fire_time for fire in some.after] == [now]
    assert some.times() == found.times() == [NOW + hours * HOUR for hours in range(1, 5)]


def test_jitter_is_the_same_for_everybody_and_within_its_bounds() -> None:
    wanted = schedule(jitter_seconds=30)
    times = [NOW + hours * HOUR for hours in range(50)]
    delays = [(start_at(wanted, at) - at).total_seconds() for at in times]
    assert [(start_at(wanted, at) - at).total_seconds() for at in times] == delays
    assert all(0 <= delay < 30 for delay in delays)
    assert len({round(delay) for delay in delays}) > 10
    assert start_at(schedule(), NOW) == NOW
    assert start_at(schedule(jitter_seconds=30, schedule_id="t"), NOW) != start_at(wanted, NOW)


def test_a_clock_that_went_back_by_hours_was_wrong_before() -> None:
    assert corrected(NOW + HOUR, NOW) == NOW + HOUR
    assert corrected(NOW + CORRECTED + HOUR, NOW) == NOW


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"time_zone": "Nowhere"}, "timeZone"),
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"max_catch_up": 0}, "maxCatchUp"),
        ({"max_catch_up": 10**6}, "maxCatchUp"),
        ({"jitter_seconds": -1.0}, "jitterSeconds"),
        ({"jitter_seconds": 1e9}, "jitterSeconds"),
        ({"task": build_spec(run_at=NOW)}, "task.runAt"),
        ({"task": build_spec(idempotency_key="k")}, "task.idempotencyKey"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_schedule(schedule(**fields), NOW)
    assert refused.value.details["field"] == field
