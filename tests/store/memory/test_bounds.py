"""A master that runs for years keeps no more than it was told to."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from podling.core.lifecycle import Cancel
from podling.core.task import Task, TaskStatus
from podling.store.base import LogTail, PeerMessage, TaskQuery, WriteStatus
from podling.store.memory.changes import KEPT_SECONDS
from podling.store.memory.keys import KEPT_SECONDS as KEYS_KEPT_SECONDS
from podling.store.memory.messages import KEPT_SECONDS as MESSAGES_KEPT_SECONDS
from podling.store.memory.store import MOST_FORGOTTEN, MemoryStore
from tests.builders import NOW, assignment, at, build_batch, build_task, ended, happening, insertion


class HandClock:
    """A clock that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


async def submit_and_cancel(store: MemoryStore, *tasks: Task) -> None:
    await store.commit(build_batch(map(insertion, tasks)))
    await store.commit(build_batch([happening(task, Cancel()) for task in tasks]))


async def test_the_tasks_that_ended_first_are_forgotten_first() -> None:
    store = MemoryStore(most_ended=3)
    tasks = [build_task(task_id=f"t{number}") for number in range(6)]
    waiting = build_task(task_id="waiting")
    await store.commit(build_batch([insertion(waiting)]))
    await submit_and_cancel(store, *reversed(tasks))
    assert set(await store.load_tasks([task.task_id for task in tasks])) == {"t0", "t1", "t2"}
    assert [task.task_id for task in await store.list_tasks(TaskQuery())] == ["waiting", "t2", "t1", "t0"]
    assert (await store.count_tasks())[TaskStatus.CANCELLED] == 3


async def test_what_belongs_to_a_forgotten_task_goes_with_it() -> None:
    store = MemoryStore(most_ended=1)
    task = build_task()
    assigned = assignment(task)
    stopping = happening(assigned.task, Cancel())
    done = happening(stopping.task, ended(stopping.task))
    await store.commit(build_batch([insertion(task), assigned, stopping, done]))
    await store.save_tails([LogTail(task_id=task.task_id, attempt=1, frames=b"x")])
    assert await store.load_events(task.task_id)
    await submit_and_cancel(store, build_task())
    assert list(await store.load_attempts(task.task_id)) == []
    assert list(await store.load_events(task.task_id)) == []
    assert await store.load_tail(task.task_id, 1) is None


async def test_keys_of_forgotten_tasks_are_bounded_in_number_and_age() -> None:
    clock = HandClock()
    store = MemoryStore(clock, most_ended=2)

    async def is_free(key: str) -> bool:
        [result] = await store.commit(build_batch([insertion(build_task(idempotency_key=key))]))
        return result.status is WriteStatus.APPLIED

    await submit_and_cancel(store, *(build_task(idempotency_key=f"k{number}") for number in range(6)))
    # k4 and k5 are kept with their tasks, k2 and k3 without them.
    assert [await is_free(f"k{number}") for number in (2, 3, 4, 5)] == [False] * 4
    assert await is_free("k1")
    clock.seconds = KEYS_KEPT_SECONDS
    await submit_and_cancel(store, build_task(idempotency_key="new"))
    assert await is_free("k2")
    assert not await is_free("new")


async def test_the_feed_is_kept_for_ten_minutes() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    first = build_batch([insertion(build_task())], number=1)
    await store.commit(first)
    clock.seconds = KEPT_SECONDS
    await store.commit(build_batch([insertion(build_task())], number=2))
    assert [batch.number for batch in await store.changes_after({}, 10)] == [1, 2]
    clock.seconds = KEPT_SECONDS + 1
    await store.commit(build_batch([insertion(build_task())], number=3))
    assert [batch.number for batch in await store.changes_after({}, 10)] == [2, 3]
    assert dict((await store.snapshot()).cursors) == {"master-1": 3}


async def test_messages_that_nobody_takes_are_kept_for_a_minute() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    await store.post([PeerMessage(recipient="m1", body="old"), PeerMessage(recipient="m2", body="gone")])
    clock.seconds = MESSAGES_KEPT_SECONDS + 1
    await store.post([PeerMessage(recipient="m1", body="young")])
    await store.maintain()
    assert await store.take_messages("m1") == ["young"]
    assert await store.take_messages("m2") == []


async def test_many_old_tasks_are_forgotten_in_several_passes() -> None:
    store = MemoryStore(HandClock())
    tasks = [build_task() for _ in range(MOST_FORGOTTEN + 1)]
    await store.commit(build_batch(map(insertion, tasks)))
    await store.commit(build_batch((happening(task, Cancel()) for task in tasks), number=2))
    assert not (await store.maintain(timedelta(0), 0.0)).is_complete
    assert len(await store.load_tasks([task.task_id for task in tasks])) == 1
    assert (await store.maintain(timedelta(0), 0.0)).is_complete
    assert not await store.load_tasks([task.task_id for task in tasks])


async def test_the_feed_holds_a_bounded_number_of_changes() -> None:
    store = MemoryStore(HandClock(), most_changes=10)
    for number in range(1, 30):
        await store.commit(build_batch([insertion(build_task())], number=number, master_id="m1"))
    await store.commit(build_batch([insertion(build_task())], number=1, master_id="m2"))
    kept = [(batch.master_id, batch.number) for batch in await store.changes_after({}, 100)]
    assert kept == [("m1", 26), ("m1", 27), ("m1", 28), ("m1", 29), ("m2", 1)]
    for number in range(2, 20):
        await store.commit(build_batch([insertion(build_task())], number=number, master_id="m2"))
    assert dict((await store.snapshot()).cursors) == {"m2": 19}


async def test_tails_have_a_budget_for_all_of_them() -> None:
    store = MemoryStore(most_tail_bytes=100)
    for attempt in range(1, 6):
        await store.save_tails([LogTail(task_id="t", attempt=attempt, frames=bytes(40))])
    kept = [attempt for attempt in range(1, 6) if await store.load_tail("t", attempt)]
    assert kept == [4, 5]
    await store.save_tails([LogTail(task_id="t", attempt=5, frames=bytes(10))])
    await store.save_tails([LogTail(task_id="t", attempt=6, frames=bytes(50))])
    assert [attempt for attempt in range(1, 7) if await store.load_tail("t", attempt)] == [4, 5, 6]


async def test_a_page_costs_what_it_returns_however_many_wait_or_are_blocked() -> None:
    store = MemoryStore()
    blocked = [build_task(shape="big", priority=9) for _ in range(5_000)]
    waiting = [build_task(priority=8, run_at=at(60)) for _ in range(5_000)]
    ready = [build_task(created_at=at(number), run_at=at(0)) for number in range(5_000)]
    for tasks in (blocked, waiting, ready):
        await store.commit(build_batch(map(insertion, tasks)))
    epoch = await store.take_leadership("leader", await store.leadership())
    await store.block([task.task_id for task in blocked], epoch or 0)
    with counted_calls() as calls:
        page = await store.ready_page(500)
        ahead = await store.ready_ahead_of(ready[2_500], 100_000)
        assert await store.unblock({"other": 1000}, epoch or 0) == {"other": 0}
        assert await store.promote(NOW, 1000) == 0
    assert page == ready[:500]
    assert ahead == 2_500
    assert calls.total < 3_000


class Calls:
    total = 0


@contextmanager
def counted_calls() -> Iterator[Calls]:
    """Count the calls of functions, which unlike seconds are the same on every machine."""
    calls = Calls()

    def count(frame: object, event: str, argument: object) -> None:
        calls.total += event in ("call", "c_call")

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(previous)


async def test_what_was_forgotten_of_the_feed_is_still_known() -> None:
    clock = HandClock()
    store = MemoryStore(clock)
    for number in (1, 2):
        await store.commit(build_batch([], master_id="gone", number=number))
    clock.seconds = KEPT_SECONDS + 1
    for number in (1, 2):
        await store.commit(build_batch([], master_id="here", number=number))
    assert dict(await store.changes_kept()) == {"gone": (2, 2), "here": (1, 2)}
