"""Workflows: kept with their tasks by one commit, or not at all."""

from datetime import datetime, timedelta

from podling.core.lifecycle import Cancel
from podling.core.task import Task, TaskStatus
from podling.core.workflow import KeyDependency, Member, Progress, Workflow, WorkflowHead
from podling.store.base import Store, WriteResult, WriteStatus
from tests.builders import NOW, at, build_batch, build_dependent, build_task, happening, insertion
from tests.store.conformance.committing import APPLIED, DUPLICATE, commit, stored


def build_workflow(*tasks: Task, at: datetime = NOW, key: str | None = None, **fields: str) -> Workflow:
    members = tuple(
        Member(
            key=f"k{number}",
            task_id=task.task_id,
            depends_on=(KeyDependency(key="k0"),) if number else (),
            array_index=number or None,
        )
        for number, task in enumerate(tasks)
    )
    defaults = {"workflow_id": f"w-{tasks[0].task_id}", "name": "nightly"}
    return Workflow(**(defaults | fields), created_at=at, members=members, idempotency_key=key, body_hash="h")


async def keep(store: Store, workflow: Workflow, *tasks: Task) -> list[WriteResult]:
    return list(await store.commit(build_batch(map(insertion, tasks), workflow=workflow)))


async def test_a_workflow_is_kept_with_its_tasks(store: Store) -> None:
    first = build_task()
    second = build_dependent(first.task_id)
    workflow = build_workflow(first, second)
    assert [result.status for result in await keep(store, workflow, first, second)] == [APPLIED, APPLIED]
    assert await store.workflows.load(workflow.workflow_id) == workflow
    assert await store.workflows.load("nobody") is None
    assert list(await store.dependencies.waiting("", 10)) == [second.task_id]


async def test_a_key_that_is_used_makes_nothing_of_it_and_a_repeat_hears_the_same(store: Store) -> None:
    first, again, other = build_task(), build_task(), build_task()
    workflow = build_workflow(first, key="night")
    await keep(store, workflow, first)
    assert await store.workflows.by_key("night") == workflow
    assert await store.workflows.by_key("day") is None
    batch = build_batch(map(insertion, (again, other)), workflow=build_workflow(again, other, key="night"))
    refusal = WriteResult(task_id=workflow.workflow_id, status=DUPLICATE)
    assert list(await store.commit(batch)) == [refusal] * 2
    assert list(await store.commit(batch)) == [refusal] * 2
    assert (await stored(store, again), await stored(store, other)) == (None, None)
    assert len(await store.workflows.find(None, 10)) == 1


async def test_a_repeated_commit_makes_no_second_one(store: Store) -> None:
    task = build_task()
    batch = build_batch([insertion(task)], workflow=build_workflow(task))
    assert list(await store.commit(batch)) == list(await store.commit(batch))
    assert len(await store.workflows.find(None, 10)) == 1


async def test_they_are_listed_newest_first_in_pages(store: Store) -> None:
    tasks = [build_task() for _ in range(3)]
    for number, task in enumerate(tasks):
        await keep(store, build_workflow(task, at=at(number), workflow_id=f"w{number}"), task)
    first = await store.workflows.find(None, 2)
    assert first == [
        WorkflowHead(workflow_id=f"w{number}", name="nightly", created_at=at(number)) for number in (2, 1)
    ], "without their members, of which there may be a thousand each"
    rest = await store.workflows.find((first[-1].created_at, first[-1].workflow_id), 2)
    assert [workflow.workflow_id for workflow in rest] == ["w0"]


async def test_progress_counts_live_and_ended_tasks(store: Store) -> None:
    tasks = [build_task() for _ in range(3)]
    workflow = build_workflow(*tasks)
    await keep(store, workflow, *tasks)
    await commit(store, happening(tasks[0], Cancel()))
    found = await store.workflows.progress([workflow.workflow_id, "nobody"])
    assert found == {
        workflow.workflow_id: Progress(counts={TaskStatus.PENDING: 2, TaskStatus.CANCELLED: 1}, skipped=0)
    }


async def test_a_workflow_is_forgotten_after_its_last_task(store: Store) -> None:
    tasks = [build_task(), build_task()]
    workflow = build_workflow(*tasks, at=NOW - timedelta(days=365))
    await keep(store, workflow, *tasks)
    await commit(store, happening(tasks[0], Cancel()))
    await store.maintain(keep_ended=timedelta(0))
    assert await store.workflows.load(workflow.workflow_id) is not None
    await commit(store, happening(tasks[1], Cancel()))
    await store.maintain(keep_ended=timedelta(0))
    await store.maintain(keep_ended=timedelta(0))
    assert await store.workflows.load(workflow.workflow_id) is None


async def test_a_workflow_of_plain_tasks_is_refused_whole_too(store: Store) -> None:
    tasks = [build_task(), build_task()]
    await keep(store, build_workflow(tasks[0], key="k"), tasks[0])
    assert [result.status for result in await keep(store, build_workflow(tasks[1], key="k"), tasks[1])] == [
        WriteStatus.DUPLICATE
    ]
    assert await stored(store, tasks[1]) is None
