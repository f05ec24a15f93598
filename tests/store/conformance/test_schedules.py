"""Schedules, and fires that are decided once."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from podling.core.access import Role
from podling.core.errors import StaleEpoch
from podling.core.schedule import CatchUp, Fire, FireWrite, Outcome, Overlap, Schedule
from podling.store.base import Store, WriteStatus
from podling.store.ports.schedules import FireQuery
from tests.builders import NOW, at, build_batch, build_spec, build_task, insertion, renumbered

NIGHTLY = Schedule(
    schedule_id="schedule-1",
    name="nightly",
    cron="0 3 * * *",
    task=build_spec(labels={"team": "ä"}),
    time_zone="Europe/Berlin",
    overlap=Overlap.SKIP,
    catch_up=CatchUp.ALL,
    max_catch_up=7,
    jitter_seconds=2.5,
    owner="me",
    roles=(Role.SUBMITTER,),
    created_at=NOW,
    updated_at=NOW,
)


async def lead(store: Store) -> int:
    epoch = await store.take_leadership("one", await store.leadership())
    assert epoch is not None
    return epoch


async def add(store: Store, schedule: Schedule = NIGHTLY, cursor: datetime = NOW) -> Schedule:
    kept = await store.schedules.add(schedule, cursor)
    assert kept is not None and kept.version > 0
    return kept


def fire(seconds: float, outcome: Outcome = Outcome.STARTED, **more: Any) -> Fire:
    fields = {"schedule_id": "schedule-1", "fire_time": at(seconds), "outcome": outcome, "at": NOW}
    return Fire(**(fields | more))


async def fires(store: Store, **query: Any) -> list[Fire]:
    return list(await store.schedules.fires(FireQuery(schedule_id="schedule-1", **query)))


async def test_a_schedule_is_kept_whole_found_by_id_and_name_changed_and_removed(store: Store) -> None:
    kept = await add(store)
    assert kept == replace(NIGHTLY, version=kept.version)
    for key in ("schedule-1", "nightly"):
        found = await store.schedules.find(key)
        assert found is not None and found.schedule == kept and found.state.cursor == NOW
    assert await store.schedules.add(replace(NIGHTLY, schedule_id="schedule-2"), NOW) is None
    changed = await store.schedules.change(replace(kept, cron="@daily", paused=True), None)
    assert changed is not None and changed.version > kept.version
    assert await store.schedules.change(kept, NOW) is None  # somebody else was quicker
    found = await store.schedules.find("nightly")
    assert found is not None and found.schedule == changed and found.state.cursor == NOW
    assert await store.schedules.change(changed, at(9)) is not None
    found = await store.schedules.find("nightly")
    assert found is not None and found.state.cursor == at(9)
    assert await store.schedules.remove("schedule-1") is True
    assert await store.schedules.remove("schedule-1") is False
    assert await store.schedules.find("nightly") is None
    await add(store, replace(NIGHTLY, schedule_id="schedule-2"))


async def test_they_are_listed_newest_first_page_by_page(store: Store) -> None:
    for number in (1, 2, 3):
        named = replace(NIGHTLY, schedule_id=f"s{number}", name=f"n{number}", created_at=at(number // 2))
        await add(store, named)
    listed = await store.schedules.load()
    assert [entry.schedule.schedule_id for entry in listed] == ["s3", "s2", "s1"]
    page = await store.schedules.load((at(1), "s3"), 1)
    assert [entry.schedule.schedule_id for entry in page] == ["s2"]


async def test_every_change_shows_in_the_revision(store: Store) -> None:
    seen = [await store.schedules.revision()]
    kept = await add(store)
    seen.append(await store.schedules.revision())
    changed = await store.schedules.change(kept, None)
    seen.append(await store.schedules.revision())
    await store.schedules.remove("schedule-1")
    assert changed is not None
    seen.append(await store.schedules.revision())
    await add(store)
    seen.append(await store.schedules.revision())
    assert len(set(seen[1:3] + seen[4:])) == 3 and seen[1] != seen[3] != seen[4] and seen[0] != seen[1]


async def test_the_news_are_what_has_a_newer_version(store: Store) -> None:
    assert await store.schedules.news(0) == ((0, 0), [])
    one = await add(store)
    two = await add(store, replace(NIGHTLY, schedule_id="schedule-2", name="weekly"))
    _, found = await store.schedules.news(0)
    assert {entry.schedule.version: entry.state.cursor for entry in found} == {
        one.version: NOW,
        two.version: NOW,
    }
    changed = await store.schedules.change(one, at(5))
    assert changed is not None
    (revision, (entry,)) = await store.schedules.news(two.version)
    assert entry.schedule == changed and entry.state.cursor == at(5)
    assert revision == await store.schedules.revision() == (2, two.version + changed.version)
    await store.schedules.remove("schedule-2")
    assert await store.schedules.news(changed.version) == ((1, changed.version), [])
    assert await store.schedules.versions() == {changed.schedule_id: changed.version}


async def test_a_name_is_given_up_for_another_but_not_for_one_that_is_taken(store: Store) -> None:
    kept = await add(store)
    await add(store, replace(NIGHTLY, schedule_id="schedule-2", name="weekly"))
    assert await store.schedules.change(replace(kept, name="weekly"), None) is None
    renamed = await store.schedules.change(replace(kept, name="daily"), None)
    found = await store.schedules.find("daily")
    assert found is not None and found.schedule == renamed
    assert await store.schedules.find("nightly") is None
    await add(store, replace(NIGHTLY, schedule_id="schedule-3"))


async def test_a_fire_and_its_task_are_one_commit_and_never_two(store: Store) -> None:
    kept = await add(store)
    epoch = await lead(store)
    task, twin = build_task(), build_task()
    written = FireWrite(fire=fire(60, task_id=task.task_id), version=kept.version)
    batch = build_batch([replace(insertion(task), fire=written)], epoch=epoch)
    for _ in range(2):  # the second one is a repeat of unknown outcome
        assert [result.status for result in await store.commit(batch)] == [WriteStatus.APPLIED]
    assert [result.status for result in await store.commit(renumbered(batch))] == [WriteStatus.REFUSED]
    again = replace(written, fire=fire(60, task_id=twin.task_id))
    other = build_batch([replace(insertion(twin), fire=again), insertion(build_task())], epoch=epoch)
    for _ in range(2):
        statuses = [result.status for result in await store.commit(other)]
        assert statuses == [WriteStatus.REFUSED, WriteStatus.APPLIED]
    assert set(await store.load_tasks([task.task_id, twin.task_id])) == {task.task_id}
    found = await store.schedules.find("nightly")
    assert found is not None and found.state.cursor == at(60)
    assert found.state.last_task_id == task.task_id and found.state.last == written.fire
    assert await fires(store) == [written.fire]


async def test_a_stale_leader_fires_nothing(store: Store) -> None:
    kept = await add(store)
    epoch = await lead(store)
    task = build_task()
    written = FireWrite(fire=fire(60, task_id=task.task_id), version=kept.version)
    with pytest.raises(StaleEpoch):
        await store.commit(build_batch([replace(insertion(task), fire=written)], epoch=epoch + 1))
    with pytest.raises(StaleEpoch):
        await store.schedules.record([written], epoch + 1)
    with pytest.raises(StaleEpoch):
        await store.schedules.set_cursor(["schedule-1"], at(5), epoch + 1)
    assert await fires(store) == [] and not await store.load_tasks([task.task_id])


async def test_a_decision_about_what_has_changed_does_not_hold(store: Store) -> None:
    kept = await add(store)
    epoch = await lead(store)
    good = FireWrite(fire=fire(1, task_id="task-a"), version=kept.version, alone=True)
    assert list(await store.schedules.record([good], epoch)) == [True]
    unseen = FireWrite(fire=fire(2), version=kept.version, alone=True)  # it does not know of task-a
    older = FireWrite(fire=fire(3), version=kept.version - 1)
    gone = FireWrite(fire=replace(fire(4), schedule_id="schedule-9"), version=kept.version)
    seen = FireWrite(fire=fire(5, task_id="task-b"), version=kept.version, alone=True, previous="task-a")
    assert list(await store.schedules.record([unseen, older, gone, seen], epoch)) == [False] * 3 + [True]
    assert [one.fire_time for one in await fires(store)] == [at(5), at(1)]


async def test_what_a_person_runs_is_told_and_moves_no_cursor(store: Store) -> None:
    kept = await add(store)
    epoch = await lead(store)
    manual = FireWrite(fire=fire(60, manual=True, task_id="task-a"), version=kept.version)
    by_itself = FireWrite(fire=fire(60, Outcome.MISSED, count=3, message="so many"), version=kept.version)
    assert list(await store.schedules.record([manual, manual], epoch)) == [True, False]
    found = await store.schedules.find("nightly")
    assert found is not None and (found.state.cursor, found.state.last_task_id) == (NOW, "task-a")
    assert list(await store.schedules.record([by_itself], epoch)) == [True]
    assert await fires(store) == [manual.fire, by_itself.fire]
    assert await fires(store, outcome=Outcome.MISSED) == [by_itself.fire]
    assert await fires(store, limit=1) == [manual.fire]
    assert await fires(store, after=(at(60), True)) == [by_itself.fire]


async def test_the_cursor_never_falls_by_a_fire_and_is_set_back_by_the_leader(store: Store) -> None:
    kept = await add(store, cursor=at(100))
    epoch = await lead(store)
    await store.schedules.record([FireWrite(fire=fire(60), version=kept.version)], epoch)
    found = await store.schedules.find("nightly")
    assert found is not None and found.state.cursor == at(100)
    await store.schedules.set_cursor(["schedule-1", "unknown"], at(-5), epoch)
    found = await store.schedules.find("nightly")
    assert found is not None and found.state.cursor == at(-5)


async def test_old_fires_and_too_many_are_forgotten(store: Store) -> None:
    kept = await add(store)
    epoch = await lead(store)
    written = [fire(number, at=at(number)) for number in range(6)]
    await store.schedules.record([FireWrite(fire=one, version=kept.version) for one in written], epoch)
    assert (await store.schedules.prune(at(2), 10)).removed == 2
    assert (await store.schedules.prune(at(2), 3)).removed == 1
    assert await fires(store) == [written[5], written[4], written[3]]


async def test_the_last_fire_is_told_also_when_it_was_decided_before_the_others(store: Store) -> None:
    kept, epoch = await add(store), await lead(store)
    decided = [fire(20, at=at(1)), fire(10, at=at(30), manual=True)]
    for each in decided:
        assert await store.schedules.record([FireWrite(fire=each, version=kept.version)], epoch) == [True]
    for before, last in ((at(0), decided[0]), (at(2), decided[1]), (at(31), None)):
        await store.schedules.prune(before, 10)
        found = await store.schedules.find("schedule-1")
        (listed,) = await store.schedules.load()
        assert found is not None and found.state.last == listed.state.last == last


async def test_no_time_is_passed_over_because_the_one_before_it_could_not_be_written(store: Store) -> None:
    kept = await add(store)
    epoch = await lead(store)

    def write(seconds: float, after: float) -> FireWrite:
        return FireWrite(fire=fire(seconds), version=kept.version, after=at(after))

    assert list(await store.schedules.record([write(2, 1), write(3, 2)], epoch)) == [False, False]
    assert list(await store.schedules.record([write(1, 0), write(2, 1)], epoch)) == [True, True]
    assert list(await store.schedules.record([write(3, 2)], epoch)) == [True]
    assert [one.fire_time for one in await fires(store)] == [at(3), at(2), at(1)]
