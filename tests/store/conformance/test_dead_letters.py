"""The list of dead letters: who is put on it, how it is read, and how a letter leaves it."""

from datetime import timedelta
from typing import Any

from podling.core.dead_letters import DISMISSED, REPLAYED, DeadLetter, dismissal, letter_of, replay_line
from podling.core.lifecycle import Cancel
from podling.core.retry import ErrorCode
from podling.core.spec import RetryPolicy
from podling.core.task import Task
from podling.store.base import Store, TaskWrite, WriteStatus
from podling.store.ports.dead_letters import DeadLetterQuery
from tests.builders import (
    NOW,
    assignment,
    at,
    build_batch,
    build_task,
    ended,
    happening,
    insertion,
    renumbered,
)
from tests.store.conformance.committing import APPLIED, commit, stored


async def fail(store: Store, seconds: float = 0, code: str = ErrorCode.EXIT_CODE, **fields: Any) -> Task:
    """Store a task that has failed so many seconds after NOW; return it."""
    task = build_task(**fields)
    live = assignment(task).task
    over = happening(live, ended(live, exit_code=1, error_code=code, finished_at=at(seconds)))
    await commit(store, insertion(task))
    await commit(store, assignment(task))
    await commit(store, over)
    return over.task


async def listed(store: Store, **query: Any) -> list[DeadLetter]:
    return list(await store.dead_letters.find(DeadLetterQuery(**query)))


async def ids(store: Store, **query: Any) -> list[str]:
    return [letter.task_id for letter in await listed(store, **query)]


def replay_of(task: Task, *, only_if_listed: bool = True) -> TaskWrite:
    new = build_task(replay_of=task.task_id)
    told = (replay_line(task, new.task_id, NOW, "ann"),)
    return TaskWrite(task=new, takes_off=task.task_id, only_if_listed=only_if_listed, events=told)


async def test_what_failed_for_good_is_on_it_and_nothing_else(store: Store) -> None:
    waiting, cancelled, done = build_task(), build_task(), build_task()
    await commit(store, *map(insertion, (waiting, cancelled, done)))
    await commit(store, happening(cancelled, Cancel()), live := assignment(done))
    await commit(store, happening(live.task, ended(live.task)))
    tried = build_task(max_attempts=2)
    await commit(store, insertion(tried))
    await commit(store, live := assignment(tried))
    await commit(store, happening(live.task, ended(live.task, exit_code=1)))
    assert await listed(store) == []
    failed = await fail(store, queue="q")
    assert await listed(store) == [letter_of(failed)]
    assert letter_of(failed) == DeadLetter(
        task_id=failed.task_id, at=NOW, queue="q", reason="MAX_ATTEMPTS_EXCEEDED", error_code="EXIT_CODE"
    )


async def test_pages_are_read_newest_first(store: Store) -> None:
    failed = [await fail(store, seconds=number // 2) for number in range(5)]
    newest = [task.task_id for task in reversed(failed)]
    assert await ids(store) == newest
    seen: list[str] = []
    after = None
    while page := await listed(store, limit=2, after=after):
        seen += [letter.task_id for letter in page]
        after = (page[-1].at, page[-1].task_id)
    assert seen == newest


async def test_filters_are_joined(store: Store) -> None:
    one = await fail(store, 1, queue="a")
    two = await fail(
        store, 2, queue="a", code=ErrorCode.OOM, max_attempts=5, retry=RetryPolicy(not_on=("OOM",))
    )
    three = await fail(store, 3, queue="b", code=ErrorCode.OOM)
    assert await ids(store, queue="a") == [two.task_id, one.task_id]
    assert await ids(store, error_code="OOM") == [three.task_id, two.task_id]
    assert await ids(store, reason="MAX_ATTEMPTS_EXCEEDED") == [three.task_id, one.task_id]
    assert await ids(store, reason="NON_RETRYABLE") == [two.task_id]
    assert await ids(store, queue="a", error_code="OOM", reason="NON_RETRYABLE") == [two.task_id]
    assert await ids(store, queue="b", reason="NON_RETRYABLE") == []
    assert await ids(store, queue="a", after=(at(2), two.task_id)) == [one.task_id]
    assert await ids(store, error_code="OOM", after=(at(3), three.task_id), limit=1) == [two.task_id]
    assert await ids(store, reason="MAX_ATTEMPTS_EXCEEDED", limit=1) == [three.task_id]


async def test_a_dismissed_one_leaves_it_once_and_the_task_stays_as_it_was(store: Store) -> None:
    kept, gone = await fail(store, 1), await fail(store, 2)
    told = dismissal(gone, at(9), "ann")
    stranger = dismissal(build_task(), at(9), "ann")
    assert await store.dead_letters.take_off([told, stranger]) == {gone.task_id}
    assert await store.dead_letters.take_off([told]) == frozenset()
    assert await store.dead_letters.take_off([]) == frozenset()
    assert await ids(store) == [kept.task_id]
    assert await stored(store, gone) == gone
    assert [event.type for event in await store.load_events(gone.task_id)] == [DISMISSED]
    assert await store.load_events(stranger.task_id) == []


async def test_a_replay_takes_it_off_in_the_commit_that_makes_the_new_task(store: Store) -> None:
    failed = await fail(store)
    first = replay_of(failed)
    batch = build_batch([first])
    assert [result.status for result in await store.commit(batch)] == [APPLIED]
    assert [result.status for result in await store.commit(batch)] == [APPLIED]
    assert await ids(store) == []
    assert await stored(store, failed) == failed
    assert await stored(store, first.task) == first.task
    assert [event.type for event in await store.load_events(failed.task_id)] == [REPLAYED]
    assert await store.load_events(first.task.task_id) == []


async def test_a_bulk_replay_never_makes_a_second_one(store: Store) -> None:
    failed, other = await fail(store), await fail(store)
    first, again, beside = replay_of(failed), replay_of(failed), replay_of(other)
    statuses = await commit(store, first, again, beside)
    assert sorted(statuses[:2]) == [APPLIED, WriteStatus.NOT_LISTED]
    assert statuses[2] == APPLIED
    assert await commit(store, again) == [WriteStatus.NOT_LISTED]
    made = [await stored(store, write.task) for write in (first, again)]
    assert sum(task is not None for task in made) == 1
    assert len(await store.load_events(failed.task_id)) == 1


async def test_what_was_refused_is_refused_when_the_batch_is_repeated(store: Store) -> None:
    failed = await fail(store)
    await commit(store, replay_of(failed))
    batch = build_batch([replay_of(failed), insertion(build_task())])
    first = await store.commit(batch)
    assert [result.status for result in first] == [WriteStatus.NOT_LISTED, APPLIED]
    assert list(await store.commit(batch)) == list(first)
    assert (await store.commit(renumbered(batch)))[0].status is WriteStatus.NOT_LISTED


async def test_one_that_is_asked_for_by_name_is_made_again(store: Store) -> None:
    failed = await fail(store)
    assert await commit(store, replay_of(failed, only_if_listed=False)) == [APPLIED]
    assert await commit(store, replay_of(failed, only_if_listed=False)) == [APPLIED]
    assert len(await store.load_events(failed.task_id)) == 2


async def test_what_is_forgotten_leaves_it_too(store: Store) -> None:
    await fail(store)
    await store.maintain(keep_ended=timedelta(0))
    assert await ids(store) == []
