"""Which pending tasks are ready, in which order, and which wait."""

from dataclasses import replace
from datetime import datetime

import pytest

from podling.core.errors import StaleEpoch
from podling.core.lifecycle import Cancel, RetryNow
from podling.core.task import Task
from podling.store.base import PendingCounts, Store, TaskWrite, WriteStatus
from tests.builders import NOW, assignment, at, build_batch, build_task, ended, happening, insertion


async def submit(store: Store, *tasks: Task, now: datetime = NOW) -> None:
    results = await store.commit(build_batch(map(insertion, tasks), now=now))
    assert {result.status for result in results} == {WriteStatus.APPLIED}


async def ready(store: Store, limit: int = 100, skip: tuple[str, ...] = ()) -> list[str]:
    return [task.task_id for task in await store.ready_page(limit, skip)]


async def lead(store: Store) -> int:
    epoch = await store.take_leadership("leader", await store.leadership())
    assert epoch is not None
    return epoch


async def test_nothing_is_ready_in_an_empty_store(store: Store) -> None:
    assert await ready(store) == []
    assert await store.next_run_at() is None
    assert await store.next_overdue_at() is None
    assert await store.promote(at(1e6), 10) == 0
    assert list(await store.overdue(at(1e6), 10)) == []


async def test_claim_order_is_priority_then_run_at_then_created_at_then_id(store: Store) -> None:
    expected = [
        build_task(task_id="j", priority=2**31 - 1, run_at=at(-1)),
        build_task(task_id="i", priority=1, run_at=at(-1)),
        build_task(task_id="h", run_at=at(-3), created_at=at(-1)),
        build_task(task_id="g", run_at=at(-2), created_at=at(-3)),
        build_task(task_id="e", run_at=at(-2), created_at=at(-2)),
        build_task(task_id="f", run_at=at(-2), created_at=at(-2)),
        build_task(task_id="d", run_at=at(-1), created_at=at(-9)),
        build_task(task_id="c", priority=-1, run_at=at(-9)),
        build_task(task_id="b", priority=-(2**31), run_at=at(-9)),
    ]
    await submit(store, *sorted(expected, key=lambda task: task.task_id))
    assert await ready(store) == [task.task_id for task in expected]
    assert list(await store.ready_page(100)) == expected


async def test_ids_are_ordered_by_their_bytes(store: Store) -> None:
    tasks = [build_task(task_id=task_id) for task_id in ("a-b", "ab", "B", "a_b", "é", "a")]
    await submit(store, *tasks)
    assert await ready(store) == ["B", "a", "a-b", "a_b", "ab", "é"]


async def test_a_page_is_cut_after_those_that_are_skipped(store: Store) -> None:
    await submit(store, *(build_task(task_id=f"t{number}") for number in range(6)))
    assert await ready(store, 2) == ["t0", "t1"]
    assert await ready(store, 2, ("t0", "t2", "nobody")) == ["t1", "t3"]
    assert await ready(store, 0) == []


async def test_only_pending_tasks_are_ready(store: Store) -> None:
    waiting, live, gone = build_task(), build_task(), build_task()
    await submit(store, waiting, live, gone)
    await store.commit(build_batch([assignment(live), happening(gone, Cancel())]))
    assert await ready(store) == [waiting.task_id]


async def test_the_batch_says_whether_run_at_has_come(store: Store) -> None:
    past, now, future = (build_task(run_at=at(wait)) for wait in (-1, 0, 0.001))
    await submit(store, past, now, future)
    assert await ready(store) == [past.task_id, now.task_id]
    assert await store.next_run_at() == at(0.001)


async def test_promote_makes_ready_what_has_come_due_earliest_first(store: Store) -> None:
    tasks = [build_task(task_id=f"t{wait}", run_at=at(wait)) for wait in (30, 10, 20)]
    await submit(store, *tasks)
    assert await store.promote(at(9), 10) == 0
    assert await store.promote(at(25), 1) == 1
    assert await ready(store) == ["t10"]
    assert await store.next_run_at() == at(20)
    assert await store.promote(at(25), 10) == 1
    assert await ready(store) == ["t10", "t20"]
    assert await store.promote(at(30), 10) == 1
    assert await store.promote(at(30), 10) == 0
    assert await store.next_run_at() is None


async def test_a_failed_attempt_waits_for_its_retry(store: Store) -> None:
    task = build_task(max_attempts=2)
    await submit(store, task)
    assigned = assignment(task)
    await store.commit(build_batch([assigned]))
    failed = happening(assigned.task, ended(assigned.task, exit_code=1, error_code="EXIT_CODE"))
    await store.commit(build_batch([failed]))
    assert failed.task.run_at > NOW
    assert await ready(store) == []
    assert await store.next_run_at() == failed.task.run_at
    assert await store.promote(failed.task.run_at, 10) == 1
    assert list(await store.ready_page(10)) == [failed.task]


async def test_a_write_moves_a_task_in_the_ready_order(store: Store) -> None:
    task, other = build_task(task_id="a", run_at=at(60)), build_task(task_id="b")
    await submit(store, task, other)
    await store.commit(build_batch([happening(task, RetryNow())]))
    assert await ready(store) == ["a", "b"]
    assert await store.next_run_at() is None


async def test_a_written_task_waits_again_if_its_time_is_later(store: Store) -> None:
    task = build_task()
    await submit(store, task)
    later = replace(happening(task, Cancel()), task=replace(task, version=2, run_at=at(5)), attempts=())
    await store.commit(build_batch([later]))
    assert await ready(store) == []
    assert await store.next_run_at() == at(5)


async def test_those_ahead_of_a_task_are_counted(store: Store) -> None:
    tasks = [build_task(task_id=f"t{number}", run_at=at(-10 + number)) for number in range(8)]
    urgent, future = build_task(task_id="u", priority=5), build_task(task_id="f", run_at=at(60))
    await submit(store, *tasks, urgent, future)
    assert await store.ready_ahead_of(urgent, 100) == 0
    assert await store.ready_ahead_of(tasks[0], 100) == 1
    assert await store.ready_ahead_of(tasks[7], 100) == 8
    assert await store.ready_ahead_of(tasks[7], 3) == 3
    assert await store.ready_ahead_of(future, 100) == 9
    await store.block([tasks[1].task_id, tasks[2].task_id], await lead(store))
    assert await store.ready_ahead_of(tasks[7], 100) == 6


async def test_many_are_counted_and_paged_in_order(store: Store) -> None:
    tasks = [
        build_task(task_id=f"t{number:05}", priority=number % 7, run_at=at(-(number * 37 % 1009)))
        for number in range(1500)
    ]
    await submit(store, *tasks)
    order = sorted(tasks, key=lambda task: (-task.spec.priority, task.run_at, task.created_at, task.task_id))
    assert list(await store.ready_page(1500)) == order
    for position in (0, 1, 511, 512, 513, 1024, 1499):
        assert await store.ready_ahead_of(order[position], 10_000) == position


# Blocked shapes


async def test_blocked_tasks_leave_the_order_until_their_shape_comes_back(store: Store) -> None:
    tasks = [build_task(task_id=f"{shape}{number}", shape=shape) for shape in "xyz" for number in range(2)]
    await submit(store, *tasks)
    epoch = await lead(store)
    await store.block(["x0", "x1", "y0", "nobody"], epoch)
    assert await ready(store) == ["y1", "z0", "z1"]
    assert await put_back(store, epoch, y=10, z=10, unknown=10) == {"y": 1}
    assert await ready(store) == ["y0", "y1", "z0", "z1"]
    assert await put_back(store, epoch, x=10) == {"x": 2}
    assert await ready(store) == ["x0", "x1", "y0", "y1", "z0", "z1"]
    assert await put_back(store, epoch, x=10) == {}


async def test_a_task_may_be_blocked_from_the_start_but_not_before_it_is_due(store: Store) -> None:
    due, later = build_task(task_id="x0"), build_task(task_id="x1", run_at=at(3600))
    await store.commit(build_batch([TaskWrite(task=due, blocked=True), TaskWrite(task=later, blocked=True)]))
    assert await ready(store) == []
    assert (await store.count_pending(10)) == PendingCounts(ready=0, blocked=1, later=1)
    assert [task.task_id for task in await store.blocked_shapes()] == ["x0"]
    await store.promote(at(7200), 10)
    assert await ready(store) == ["x1"]
    assert await put_back(store, await lead(store), **{due.shape: 10}) == {due.shape: 1}
    assert await ready(store) == ["x0", "x1"]


async def put_back(store: Store, epoch: int, **rooms: int) -> dict[str, int]:
    """Unblock, and return of which shapes any came back, and how many."""
    return {shape: count for shape, count in (await store.unblock(rooms, epoch)).items() if count}


async def test_as_many_of_a_shape_come_back_as_there_is_room_for_in_claim_order(store: Store) -> None:
    tasks = [build_task(task_id=f"t{number}", shape="s", priority=number) for number in range(5)]
    other = build_task(task_id="u", shape="o")
    await submit(store, *tasks, other)
    epoch = await lead(store)
    await store.block([task.task_id for task in [*tasks, other]], epoch)
    assert await put_back(store, epoch) == {}
    assert await put_back(store, epoch, s=2) == {"s": 2}
    assert await ready(store) == ["t4", "t3"]
    assert await put_back(store, epoch, s=2, o=1) == {"s": 2, "o": 1}
    assert await ready(store) == ["t4", "t3", "t2", "t1", "u"]


async def test_the_first_blocked_task_of_every_shape_is_found(store: Store) -> None:
    tasks = [build_task(task_id=f"{shape}{n}", shape=shape, priority=n) for shape in "xyz" for n in range(3)]
    await submit(store, *tasks)
    assert await store.blocked_shapes() == []
    await store.block(["x0", "x1", "z2", "z0"], await lead(store))
    assert {task.task_id for task in await store.blocked_shapes()} == {"x1", "z2"}


async def test_blocking_twice_counts_once(store: Store) -> None:
    task = build_task()
    await submit(store, task)
    epoch = await lead(store)
    await store.block([task.task_id, task.task_id], epoch)
    await store.block([task.task_id], epoch)
    assert await put_back(store, epoch, **{task.shape: 10}) == {task.shape: 1}


async def test_only_pending_tasks_are_blocked(store: Store) -> None:
    live, gone = build_task(), build_task()
    await submit(store, live, gone)
    await store.commit(build_batch([assignment(live), happening(gone, Cancel())]))
    epoch = await lead(store)
    await store.block([live.task_id, gone.task_id], epoch)
    assert await put_back(store, epoch, **{live.shape: 10, gone.shape: 10}) == {}


async def test_a_blocked_task_that_is_assigned_or_ends_is_not_blocked_any_more(store: Store) -> None:
    assigned, gone = build_task(), build_task()
    await submit(store, assigned, gone)
    epoch = await lead(store)
    await store.block([assigned.task_id, gone.task_id], epoch)
    results = await store.commit(build_batch([assignment(assigned), happening(gone, Cancel())]))
    assert {result.status for result in results} == {WriteStatus.APPLIED}
    assert await put_back(store, epoch, **{assigned.shape: 10, gone.shape: 10}) == {}


async def test_a_task_that_comes_back_to_pending_is_not_blocked(store: Store) -> None:
    task = build_task(max_attempts=2)
    await submit(store, task)
    await store.block([task.task_id], await lead(store))
    assigned = assignment(task)
    failed = happening(assigned.task, ended(assigned.task, exit_code=1, error_code="EXIT_CODE"))
    await store.commit(build_batch([assigned, failed], now=at(3600)))
    assert await ready(store) == [task.task_id]


async def test_a_blocked_task_that_is_written_is_planned_again(store: Store) -> None:
    task = build_task(run_at=at(60))
    await submit(store, task)
    epoch = await lead(store)
    await store.block([task.task_id], epoch)
    await store.commit(build_batch([happening(task, RetryNow())]))
    assert await ready(store) == [task.task_id]
    assert await put_back(store, epoch, **{task.shape: 10}) == {}


async def test_a_blocked_task_that_comes_due_stays_blocked(store: Store) -> None:
    task = build_task(run_at=at(10))
    await submit(store, task)
    epoch = await lead(store)
    await store.block([task.task_id], epoch)
    await store.promote(at(10), 10)
    assert await ready(store) == []
    assert await put_back(store, epoch, **{task.shape: 10}) == {task.shape: 1}
    assert await ready(store) == [task.task_id]


async def test_an_unblocked_task_still_waits_for_its_time(store: Store) -> None:
    task = build_task(run_at=at(10))
    await submit(store, task)
    epoch = await lead(store)
    await store.block([task.task_id], epoch)
    assert await put_back(store, epoch, **{task.shape: 10}) == {task.shape: 1}
    assert await ready(store) == []
    assert await store.promote(at(10), 10) == 1
    assert await ready(store) == [task.task_id]


async def test_a_stale_leader_blocks_nothing(store: Store) -> None:
    task = build_task()
    await submit(store, task)
    stale = await lead(store)
    epoch = await lead(store)
    with pytest.raises(StaleEpoch):
        await store.block([task.task_id], stale)
    assert await ready(store) == [task.task_id]
    await store.block([task.task_id], epoch)
    with pytest.raises(StaleEpoch):
        await store.unblock({task.shape: 10}, stale)
    assert await ready(store) == []
