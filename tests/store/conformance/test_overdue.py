"""Which tasks have waited, or taken, longer than they may."""

from podling.core.lifecycle import Cancel, Deadline
from podling.core.protocol import ReportKind
from podling.core.task import Task
from podling.store.base import Overdue, OverdueKind, Store
from tests.builders import NOW, assignment, at, build_batch, build_task, ended, happening, insertion, reported

DEADLINE, QUEUE_TIMEOUT = OverdueKind.DEADLINE, OverdueKind.QUEUE_TIMEOUT


async def submit(store: Store, *tasks: Task) -> None:
    await store.commit(build_batch(map(insertion, tasks)))


async def overdue(store: Store, after_seconds: float, limit: int = 10) -> list[tuple[str, OverdueKind]]:
    found = await store.overdue(at(after_seconds), limit)
    assert all(isinstance(item, Overdue) for item in found)
    return [(item.task_id, item.kind) for item in found]


async def test_a_task_without_limits_is_never_overdue(store: Store) -> None:
    await submit(store, build_task(timeout_seconds=1.0))
    assert await overdue(store, 1e8) == []
    assert await store.next_overdue_at() is None


async def test_a_deadline_counts_from_the_submission(store: Store) -> None:
    task = build_task(created_at=at(-5), run_at=at(100), deadline_seconds=30.0)
    await submit(store, task)
    assert await store.next_overdue_at() == at(25)
    assert await overdue(store, 24.999) == []
    assert await overdue(store, 25) == [(task.task_id, DEADLINE)]


async def test_a_queue_timeout_counts_from_when_the_task_could_have_started(store: Store) -> None:
    at_once = build_task(task_id="a", created_at=at(0), run_at=at(-50), queue_timeout_seconds=10.0)
    later = build_task(task_id="b", created_at=at(0), run_at=at(100), queue_timeout_seconds=10.0)
    await submit(store, at_once, later)
    assert await store.next_overdue_at() == at(10)
    assert await overdue(store, 10) == [("a", QUEUE_TIMEOUT)]
    assert await overdue(store, 109.9) == [("a", QUEUE_TIMEOUT)]
    assert await overdue(store, 110) == [("a", QUEUE_TIMEOUT), ("b", QUEUE_TIMEOUT)]


async def test_the_queue_timeout_rests_while_an_attempt_is_live(store: Store) -> None:
    task = build_task(queue_timeout_seconds=10.0, max_attempts=2)
    await submit(store, task)
    assigned = assignment(task)
    await store.commit(build_batch([assigned]))
    assert await overdue(store, 1e6) == []
    assert await store.next_overdue_at() is None
    failed = happening(assigned.task, ended(assigned.task, exit_code=1, error_code="EXIT_CODE"), now=at(100))
    await store.commit(build_batch([failed], now=at(100)))
    waited = (failed.task.run_at - NOW).total_seconds()
    assert await overdue(store, waited + 9.9) == []
    assert await overdue(store, waited + 10) == [(task.task_id, QUEUE_TIMEOUT)]


async def test_the_deadline_goes_on_while_an_attempt_is_live(store: Store) -> None:
    task = build_task(deadline_seconds=10.0)
    await submit(store, task)
    assigned = assignment(task)
    running = happening(assigned.task, reported(assigned.task, ReportKind.RUNNING))
    await store.commit(build_batch([assigned, running]))
    assert await overdue(store, 10) == [(task.task_id, DEADLINE)]


async def test_a_task_is_told_once_by_the_limit_that_passed_first(store: Store) -> None:
    queue_first = build_task(task_id="a", queue_timeout_seconds=1.0, deadline_seconds=2.0)
    deadline_first = build_task(task_id="b", queue_timeout_seconds=4.0, deadline_seconds=3.0)
    await submit(store, queue_first, deadline_first)
    assert await overdue(store, 10) == [("a", QUEUE_TIMEOUT), ("b", DEADLINE)]


async def test_who_was_told_to_stop_is_not_told_again(store: Store) -> None:
    by_deadline, by_client = (build_task(deadline_seconds=10.0) for _ in range(2))
    await submit(store, by_deadline, by_client)
    assigned = [assignment(by_deadline), assignment(by_client)]
    await store.commit(build_batch(assigned))
    stopped = [happening(assigned[0].task, Deadline(), at(10)), happening(assigned[1].task, Cancel())]
    await store.commit(build_batch(stopped))
    assert await overdue(store, 100) == []
    assert await store.next_overdue_at() is None


async def test_an_ended_task_is_not_overdue(store: Store) -> None:
    task = build_task(deadline_seconds=10.0, queue_timeout_seconds=10.0)
    await submit(store, task)
    await store.commit(build_batch([happening(task, Cancel())]))
    assert await overdue(store, 100) == []
    assert await store.next_overdue_at() is None


async def test_blocked_and_future_tasks_time_out_too(store: Store) -> None:
    blocked = build_task(task_id="a", queue_timeout_seconds=10.0)
    future = build_task(task_id="b", run_at=at(1000), deadline_seconds=11.0)
    await submit(store, blocked, future)
    epoch = await store.take_leadership("leader", await store.leadership())
    await store.block([blocked.task_id], epoch or 0)
    assert await overdue(store, 20) == [("a", QUEUE_TIMEOUT), ("b", DEADLINE)]


async def test_the_longest_overdue_come_first_up_to_the_limit(store: Store) -> None:
    waits = {"a": 30.0, "b": 10.0, "c": 20.0, "d": 20.0}
    await submit(store, *(build_task(task_id=name, deadline_seconds=wait) for name, wait in waits.items()))
    assert [name for name, _ in await overdue(store, 100)] == ["b", "c", "d", "a"]
    assert [name for name, _ in await overdue(store, 100, limit=2)] == ["b", "c"]
    assert await store.next_overdue_at() == at(10)


async def test_the_overdue_are_read_page_by_page(store: Store) -> None:
    waits = {"a": 30.0, "b": 10.0, "c": 20.0, "d": 20.0, "e": 20.0, "f": 200.0}
    await submit(store, *(build_task(task_id=name, deadline_seconds=wait) for name, wait in waits.items()))
    seen: list[str] = []
    after = None
    while page := await store.overdue(at(100), 2, after):
        seen += [item.task_id for item in page]
        assert [item.at for item in page] == [at(waits[item.task_id]) for item in page]
        after = (page[-1].at, page[-1].task_id)
    assert seen == ["b", "c", "d", "e", "a"]


async def test_a_page_begins_where_a_task_was_that_has_ended_since(store: Store) -> None:
    waits = {"a": 10.0, "b": 20.0, "c": 30.0}
    tasks = [build_task(task_id=name, deadline_seconds=wait) for name, wait in waits.items()]
    await submit(store, *tasks)
    await store.commit(build_batch([happening(tasks[1], Cancel())]))
    assert [item.task_id for item in await store.overdue(at(100), 2, (at(20), "b"))] == ["c"]


async def test_a_limit_beyond_the_calendar_is_never_reached(store: Store) -> None:
    task = build_task(deadline_seconds=1e12, queue_timeout_seconds=1e12)
    await submit(store, task)
    assert await store.next_overdue_at() is None
    assert await store.load_tasks([task.task_id]) == {task.task_id: task}
