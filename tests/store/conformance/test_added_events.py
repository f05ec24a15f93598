"""Lines of the timeline that change nothing about their task."""

from dataclasses import replace

from podling.core.lifecycle import Cancel
from podling.core.task import TaskEvent
from podling.store.base import Store
from tests.builders import NOW, assignment, build_batch, build_task, ended, happening, insertion


def line_of(task_id: str, message: str) -> TaskEvent:
    return TaskEvent(
        task_id=task_id, at=NOW, type="note", actor="worker", message=message, attempt=2, details={"a": [1]}
    )


async def test_they_are_appended_whether_the_task_has_ended_or_not(store: Store) -> None:
    task, other = build_task(), build_task()
    await store.commit(build_batch([insertion(task), insertion(other)]))
    await store.add_events([line_of(task.task_id, "one"), line_of(other.task_id, "other")])
    live = assignment(task)
    await store.commit(build_batch([live]))
    over = happening(live.task, ended(live.task))
    await store.commit(build_batch([over]))
    await store.add_events([line_of(task.task_id, "two")])
    assert list(await store.load_events(task.task_id)) == [
        line_of(task.task_id, "one"),
        line_of(task.task_id, "two"),
    ]
    assert (await store.load_tasks([task.task_id]))[task.task_id] == over.task
    assert list(await store.load_events(other.task_id)) == [line_of(other.task_id, "other")]


async def test_what_is_appended_together_stays_in_its_order(store: Store) -> None:
    tasks = [build_task(task_id=name) for name in "abc"]
    await store.commit(build_batch(map(insertion, tasks)))
    lines = [line_of(name, str(number)) for number in range(10) for name in "abc"]
    await store.add_events(lines)
    for name in "abc":
        told = [event.message for event in await store.load_events(name)]
        assert told == [str(number) for number in range(10)]


async def test_those_of_one_type_are_found_for_many_tasks_at_once(store: Store) -> None:
    tasks = [build_task(task_id=name) for name in ("a", "b", "c", "d")]
    await store.commit(build_batch(map(insertion, tasks)))
    over = happening(tasks[1], Cancel())
    await store.commit(build_batch([over]))
    other = replace(line_of("a", "other"), type="other")
    await store.add_events(
        [line_of("b", "1"), other, line_of("a", "2"), line_of("b", "3"), line_of("d", "4")]
    )
    found = await store.find_events(["a", "b", "c", "nobody", "b"], "note")
    by_task = {name: [event for event in found if event.task_id == name] for name in "abcd"}
    assert by_task == {
        "a": [line_of("a", "2")],
        "b": [line_of("b", "1"), line_of("b", "3")],
        "c": [],
        "d": [],
    }
    assert list(await store.find_events([], "note")) == []


async def test_nobodys_are_left_out(store: Store) -> None:
    await store.add_events([line_of("nobody", "lost")])
    await store.add_events([])
    assert not await store.load_events("nobody")
