"""Workflows: which graphs are taken, what their tasks become, and how the whole stands."""

from collections.abc import Sequence
from itertools import count

import pytest

from podling.core.errors import InvalidInput
from podling.core.policy import validate_spec
from podling.core.spec import ArrayPlace, Dependency, When
from podling.core.task import TaskStatus
from podling.core.traffic import Rules
from podling.core.workflow import (
    ArrayWish,
    KeyDependency,
    Progress,
    Step,
    WorkflowStatus,
    check_workflow,
    members_of,
    specs_of,
)
from tests.builders import build_spec


def step(key: str, *parents: str, when: When = When.SUCCESS, size: int | None = None, **spec: object) -> Step:
    return Step(
        key=key,
        spec=build_spec(name=key, **spec),
        depends_on=tuple(KeyDependency(key=parent, when=when) for parent in parents),
        array=None if size is None else ArrayWish(count=size),
    )


CHAIN = [step(str(number), str(number - 1)) if number else step("0") for number in range(1000)]


@pytest.mark.parametrize(
    "steps", [[step("a")], [step("b", "a"), step("a")], [step("a", size=1000)], CHAIN], ids=len
)
def test_graphs_without_a_cycle_are_taken(steps: Sequence[Step]) -> None:
    check_workflow("job", steps)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "must be 1 to 1000 tasks"),
        (
            [step("a", size=500), step("b", size=501)],
            "must be 1 to 1000 tasks, those of arrays counted, not 1001",
        ),
        ([step("a"), step("a")], "has the key a twice"),
        ([step("a", "b")], "tasks.0.dependsOn.0.key: there is no task with the key 'b'"),
        ([step("a", "a")], "a → a"),
        ([step("a", "b"), step("b", "a")], "they wait for each other in a circle"),
        ([step("b", "a", "a"), step("a")], "tasks.0.dependsOn: names a twice"),
        ([step("")], "tasks.0.key"),
        ([step("a/b")], "tasks.0.key"),
        ([step("a", size=0)], "tasks.0.array.count"),
        ([step("a", idempotency_key="k")], "tasks.0.idempotencyKey"),
        ([step("a", size=400), step("b", "a", size=400)], "160000 times"),
    ],
)
def test_other_graphs_are_refused_with_a_sentence(steps: Sequence[Step], problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_workflow("job", steps)
    assert problem in refused.value.message


def test_keys_become_ids_and_each_task_of_an_array_is_a_parent() -> None:
    steps = [step("work", size=3), step("sum", "work", when=When.ALWAYS)]
    members = members_of(steps, (f"id-{number}" for number in count()))
    assert [(member.key, member.task_id, member.array_index) for member in members] == [
        ("work", "id-0", 0),
        ("work", "id-1", 1),
        ("work", "id-2", 2),
        ("sum", "id-3", None),
    ]
    specs = specs_of("w", steps, members)
    assert [spec.name for spec in specs] == ["work-0", "work-1", "work-2", "sum"]
    assert [spec.array for spec in specs[:3]] == [ArrayPlace(index=index, count=3) for index in range(3)]
    assert specs[3].depends_on == tuple(
        Dependency(task_id=f"id-{number}", when=When.ALWAYS) for number in range(3)
    )


def test_an_array_with_a_cap_shares_a_key_of_its_own() -> None:
    steps = [Step(key="work", spec=build_spec(), array=ArrayWish(count=9, max_parallel=4))]
    first, *_ = specs_of("w", steps, members_of(steps, map(str, count())))
    assert first.concurrency_key == "array/w/work"
    assert Rules({}).per_key(validate_spec(first)) == 4
    assert Rules({}).per_key(build_spec(concurrency_key="k")) == 1


def test_nobody_else_gets_around_the_cap_of_a_key() -> None:
    place = ArrayPlace(index=0, count=1, max_parallel=99)
    with pytest.raises(InvalidInput, match=r"array\.maxParallel"):
        validate_spec(build_spec(concurrency_key="db", array=place))
    with pytest.raises(InvalidInput, match=r"array\.index"):
        validate_spec(build_spec(array=ArrayPlace(index=3, count=3)))


COMPLETED, FAILED, CANCELLED = TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED
PENDING, RUNNING = TaskStatus.PENDING, TaskStatus.RUNNING
SKIPPED = "DEPENDENCY_UNMET"


@pytest.mark.parametrize(
    ("tasks", "status"),
    [
        ([(PENDING, None)], WorkflowStatus.PENDING),
        ([(PENDING, None), (COMPLETED, None)], WorkflowStatus.RUNNING),
        ([(RUNNING, None), (FAILED, None)], WorkflowStatus.RUNNING),
        ([(COMPLETED, None), (FAILED, None), (CANCELLED, SKIPPED)], WorkflowStatus.FAILED),
        ([(COMPLETED, None), (CANCELLED, SKIPPED)], WorkflowStatus.COMPLETED),
        ([(COMPLETED, None), (CANCELLED, "CANCELLED"), (CANCELLED, SKIPPED)], WorkflowStatus.CANCELLED),
        ([], WorkflowStatus.COMPLETED),
    ],
)
def test_the_whole_stands_as_its_tasks_do(
    tasks: Sequence[tuple[TaskStatus, str | None]], status: WorkflowStatus
) -> None:
    progress = Progress()
    for task_status, code in tasks:
        progress = progress.plus(task_status, code)
    assert progress.status is status
