"""Lists of tasks: filters, order, pages, counts."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest

from podling.core.lifecycle import Cancel
from podling.core.placement import meets
from podling.core.protocol import ReportKind
from podling.core.selector import parse_selectors
from podling.core.spec import TaskKind
from podling.core.task import Task, TaskStatus
from podling.store.base import Store, TaskQuery
from tests.builders import assignment, at, build_batch, build_task, ended, happening, insertion, reported


async def submit(store: Store, *tasks: Task) -> None:
    await store.commit(build_batch(map(insertion, tasks)))


async def ids(store: Store, **query: Any) -> list[str]:
    return [task.task_id for task in await store.list_tasks(TaskQuery(**query))]


async def one_of_each(store: Store) -> dict[TaskStatus, Task]:
    """Make one task in every state; return them as they are."""
    tasks = {status: build_task(task_id=str(status)) for status in TaskStatus}
    await submit(store, *tasks.values())
    made = dict(tasks)
    for status in set(TaskStatus) - {TaskStatus.PENDING, TaskStatus.CANCELLED}:
        made[status] = await write(store, assignment(made[status], "node-1"))
    for status in (TaskStatus.RUNNING, TaskStatus.COMPLETED, TaskStatus.FAILED):
        made[status] = await write(store, happening(made[status], reported(made[status], ReportKind.RUNNING)))
    good, bad = made[TaskStatus.COMPLETED], made[TaskStatus.FAILED]
    made[TaskStatus.COMPLETED] = await write(store, happening(good, ended(good)))
    made[TaskStatus.FAILED] = await write(
        store, happening(bad, ended(bad, exit_code=1, error_code="EXIT_CODE"))
    )
    made[TaskStatus.CANCELLED] = await write(store, happening(made[TaskStatus.CANCELLED], Cancel()))
    assert {task.status for task in made.values()} == set(TaskStatus)
    return made


async def write(store: Store, item: Any) -> Task:
    await store.commit(build_batch([item]))
    task: Task = item.task
    return task


async def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert await ids(store) == []
    assert await ids(store, statuses=tuple(TaskStatus)) == []


async def test_the_newest_come_first(store: Store) -> None:
    await submit(
        store,
        build_task(task_id="a", created_at=at(1)),
        build_task(task_id="d", created_at=at(0)),
        build_task(task_id="b", created_at=at(2)),
        build_task(task_id="c", created_at=at(1)),
    )
    assert await ids(store) == ["b", "c", "a", "d"]
    assert await ids(store, statuses=(TaskStatus.PENDING,)) == ["b", "c", "a", "d"]


async def test_live_and_ended_tasks_are_one_list(store: Store) -> None:
    made = await one_of_each(store)
    listed = await store.list_tasks(TaskQuery())
    assert list(listed) == sorted(made.values(), key=lambda task: task.task_id, reverse=True)


@pytest.mark.parametrize(
    "statuses",
    [
        *((status,) for status in TaskStatus),
        (TaskStatus.RUNNING, TaskStatus.FAILED),
        (TaskStatus.PENDING, TaskStatus.SCHEDULED, TaskStatus.RUNNING),
        (TaskStatus.COMPLETED, TaskStatus.COMPLETED),
    ],
)
async def test_states_filter(store: Store, statuses: Sequence[TaskStatus]) -> None:
    await one_of_each(store)
    assert await ids(store, statuses=tuple(statuses)) == sorted(map(str, set(statuses)), reverse=True)


async def test_queue_name_and_kind_filter_exactly(store: Store) -> None:
    await submit(
        store,
        build_task(task_id="a", queue="fast", name="build"),
        build_task(task_id="b", queue="fast", name="buil_"),
        build_task(task_id="c", queue="fast%", name="Build"),
        build_task(task_id="d", queue="default", name="build", kind=TaskKind.POD),
    )
    assert await ids(store, queue="fast") == ["b", "a"]
    assert await ids(store, queue="fast%") == ["c"]
    assert await ids(store, queue="%") == []
    assert await ids(store, name="build") == ["d", "a"]
    assert await ids(store, name="buil_") == ["b"]
    assert await ids(store, kind="pod") == ["d"]
    assert await ids(store, kind="task", name="build") == ["a"]
    assert await ids(store, queue="fast", name="Build") == []


async def test_labels_filter_exactly_and_together(store: Store) -> None:
    labels = {
        "a": {"app": "web", "tier": "front"},
        "b": {"app": "web"},
        "c": {"app": "w%"},
        "d": {"app": "w_b"},
        "e": {"a%": "web", "a_p": "x"},
        "f": {},
        "g": {"app": "web'; --", 'quote"': "\\"},
    }
    await submit(store, *(build_task(task_id=name, labels=given) for name, given in labels.items()))
    assert await ids(store, labels={"app": "web"}) == ["b", "a"]
    assert await ids(store, labels={"app": "web", "tier": "front"}) == ["a"]
    assert await ids(store, labels={"tier": "front", "nothing": ""}) == []
    assert await ids(store, labels={"app": "w%"}) == ["c"]
    assert await ids(store, labels={"app": "w_b"}) == ["d"]
    assert await ids(store, labels={"a%": "web"}) == ["e"]
    assert await ids(store, labels={"a_p": "x"}) == ["e"]
    assert await ids(store, labels={"app": "web'; --"}) == ["g"]
    assert await ids(store, labels={'quote"': "\\"}) == ["g"]
    assert await ids(store, labels={}) == ["g", "f", "e", "d", "c", "b", "a"]


async def test_the_node_filters_live_and_ended_tasks(store: Store) -> None:
    tasks = [build_task(task_id=name) for name in "abcd"]
    await submit(store, *tasks)
    a, b, c, _ = tasks
    assigned = [assignment(a, "node-1"), assignment(b, "node-2"), assignment(c, "node-1")]
    done = happening(assigned[2].task, ended(assigned[2].task))
    await store.commit(build_batch([*assigned, done]))
    assert await ids(store, node_id="node-1") == ["c", "a"]
    assert await ids(store, node_id="node-1", statuses=(TaskStatus.SCHEDULED,)) == ["a"]
    assert await ids(store, node_id="node-1", statuses=(TaskStatus.COMPLETED,)) == ["c"]
    assert await ids(store, node_id="node-3") == []


@pytest.mark.parametrize("statuses", [(), (TaskStatus.PENDING,), (TaskStatus.PENDING, TaskStatus.CANCELLED)])
async def test_pages_meet_without_gap_or_overlap_also_at_equal_times(
    store: Store, statuses: tuple[TaskStatus, ...]
) -> None:
    tasks = [build_task(task_id=f"t{number:02}", created_at=at(number // 5)) for number in range(23)]
    await submit(store, *tasks)
    expected = [task.task_id for task in reversed(tasks)]
    for size in (1, 4, 5, 23, 50):
        seen: list[str] = []
        after = None
        while page := await store.list_tasks(TaskQuery(statuses=statuses, after=after, limit=size)):
            assert len(page) <= size
            seen += [task.task_id for task in page]
            after = (page[-1].created_at, page[-1].task_id)
        assert seen == expected


async def test_a_page_begins_after_a_place_that_is_no_task(store: Store) -> None:
    await submit(store, *(build_task(task_id=name, created_at=at(1)) for name in "ace"))
    assert await ids(store, after=(at(1), "d")) == ["c", "a"]
    assert await ids(store, after=(at(2), "a")) == ["e", "c", "a"]
    assert await ids(store, after=(at(0), "z")) == []


async def test_a_page_of_a_filter_is_full_if_there_are_enough(store: Store) -> None:
    tasks = [build_task(task_id=f"t{n:03}", labels={"odd": str(n % 2)}, created_at=at(n)) for n in range(60)]
    await submit(store, *tasks)
    assert await ids(store, labels={"odd": "1"}, limit=5) == ["t059", "t057", "t055", "t053", "t051"]


def fits(task: Task, filters: dict[str, Any]) -> bool:
    return (
        task.status in filters.get("statuses", tuple(TaskStatus))
        and task.node_id == filters.get("node_id", task.node_id)
        and task.spec.queue == filters.get("queue", task.spec.queue)
        and task.spec.name == filters.get("name", task.spec.name)
        and filters.get("labels", {}).items() <= task.spec.labels.items()
    )


async def test_filters_mean_the_same_in_every_combination(store: Store) -> None:
    choices = [
        {
            "node_id": f"node-{n % 2}",
            "queue": f"q{n // 2 % 2}",
            "name": f"n{n // 4 % 2}",
            "app": str(n // 8 % 2),
        }
        for n in range(16)
    ]
    tasks: list[Task] = []
    for status in TaskStatus:
        for chosen in choices:
            spec = {"queue": chosen["queue"], "name": chosen["name"], "labels": {"app": chosen["app"]}}
            task = build_task(created_at=at(len(tasks)), **spec)
            await submit(store, task)
            tasks.append(await moved_to(store, task, status, chosen["node_id"]))
    filters: dict[str, Any] = {"node_id": "node-1", "queue": "q1", "name": "n1", "labels": {"app": "1"}}
    states: list[tuple[TaskStatus, ...]] = [(), *((status,) for status in TaskStatus)]
    states += [(TaskStatus.PENDING, TaskStatus.RUNNING), (TaskStatus.FAILED, TaskStatus.CANCELLED)]
    for wanted in states:
        for size in range(len(filters) + 1):
            for names in combinations(filters, size):
                query = {name: filters[name] for name in names} | ({"statuses": wanted} if wanted else {})
                expected = [task.task_id for task in reversed(tasks) if fits(task, query)]
                assert await ids(store, **query) == expected, query
                if len(expected) > 1:
                    after = next(
                        (task.created_at, task.task_id) for task in tasks if task.task_id == expected[0]
                    )
                    assert await ids(store, **query, after=after, limit=1) == expected[1:2], query


async def moved_to(store: Store, task: Task, status: TaskStatus, node_id: str) -> Task:
    """Bring a pending task there by the way that tasks take."""
    if status is TaskStatus.PENDING:
        return task
    task = await write(store, assignment(task, node_id))
    if status is TaskStatus.CANCELLED:
        task = await write(store, happening(task, Cancel()))
        return await write(store, happening(task, ended(task, exit_code=None, error_code="CANCELLED")))
    if status is not TaskStatus.SCHEDULED:
        task = await write(store, happening(task, reported(task, ReportKind.RUNNING)))
    if status is TaskStatus.COMPLETED:
        return await write(store, happening(task, ended(task)))
    if status is TaskStatus.FAILED:
        return await write(store, happening(task, ended(task, exit_code=1, error_code="EXIT_CODE")))
    return task


async def test_few_of_many_are_found_by_their_state(store: Store) -> None:
    tasks = [build_task(task_id=f"t{number:03}", created_at=at(number)) for number in range(40)]
    await submit(store, *tasks)
    await store.commit(build_batch([happening(task, Cancel()) for task in tasks[3:]]))
    await store.commit(build_batch([assignment(tasks[1])]))
    assert await ids(store, statuses=(TaskStatus.PENDING,)) == ["t002", "t000"]
    assert await ids(store, statuses=(TaskStatus.PENDING,), limit=1) == ["t002"]
    assert await ids(store, statuses=(TaskStatus.PENDING, TaskStatus.SCHEDULED), after=(at(2), "t002")) == [
        "t001",
        "t000",
    ]


async def test_tasks_are_counted_by_state(store: Store) -> None:
    assert sum((await store.count_tasks()).values()) == 0
    await one_of_each(store)
    await submit(store, build_task(), build_task())
    counts = await store.count_tasks()
    assert counts[TaskStatus.PENDING] == 3
    assert {status: counts[status] for status in set(TaskStatus) - {TaskStatus.PENDING}} == dict.fromkeys(
        set(TaskStatus) - {TaskStatus.PENDING}, 1
    )


@pytest.mark.parametrize(
    "texts",
    [
        ["app!=web"],
        ["app"],
        ["!app"],
        ["app in (web, db)"],
        ["app notin (web)"],
        ["app", "tier!=back"],
        ["!no"],
    ],
)
async def test_selectors_mean_the_same_as_in_the_core(store: Store, texts: list[str]) -> None:
    labels: dict[str, dict[str, str]] = {
        "a": {"app": "web", "tier": "front"},
        "b": {"app": "db", "tier": "back"},
        "c": {"app": ""},
        "d": {},
        "e": {"tier": "back"},
    }
    await submit(store, *(build_task(task_id=name, labels=given) for name, given in labels.items()))
    selectors = parse_selectors(texts)
    meant = [name for name in "edcba" if all(meets(labels[name], selector) for selector in selectors)]
    assert await ids(store, selectors=selectors) == meant
    assert await ids(store, selectors=selectors, statuses=(TaskStatus.PENDING,)) == meant
