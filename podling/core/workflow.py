"""Workflows: graphs of tasks that are submitted as one, by keys; and what becomes of the whole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from enum import StrEnum

from podling.core.errors import InvalidInput
from podling.core.fields import MAX_NAME_CHARACTERS, check_identifier, check_number, check_text
from podling.core.graph import ARRAY_KEYS, MOST_PARENTS, MOST_TASKS, check_acyclic, check_distinct
from podling.core.retry import ErrorCode
from podling.core.spec import ArrayPlace, Dependency, TaskSpec, When
from podling.core.task import TaskStatus
from podling.core.value import value

MOST_LINKS = 20_000  # between the tasks of a workflow


@value
class KeyDependency:
    """A parent in the same workflow; of an array each task is one."""

    key: str
    when: When = When.SUCCESS


@value
class ArrayWish:
    """So many tasks of one kind, of which `max_parallel` are on nodes at a time."""

    count: int
    max_parallel: int | None = None


@value
class Step:
    """What was asked for under one key."""

    key: str
    spec: TaskSpec
    depends_on: tuple[KeyDependency, ...] = ()
    array: ArrayWish | None = None

    @property
    def size(self) -> int:
        return 1 if self.array is None else self.array.count


@value
class Member:
    """One task of a workflow."""

    key: str
    task_id: str
    depends_on: tuple[KeyDependency, ...] = ()
    array_index: int | None = None


@value
class WorkflowHead:
    """What a list needs of a workflow, which may have a thousand members."""

    workflow_id: str
    name: str
    created_at: datetime


@value
class Workflow(WorkflowHead):
    """`members` are in the order of the submission, an array's by their index."""

    members: tuple[Member, ...]
    idempotency_key: str | None = None
    body_hash: str | None = None


class WorkflowStatus(StrEnum):
    PENDING = "pending"  # none of its tasks has been on a node
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@value
class Progress:
    """How many tasks are in each state; `skipped` of the cancelled ones were not wanted by their parents."""

    counts: Mapping[TaskStatus, int] = field(default_factory=dict)
    skipped: int = 0

    def plus(self, status: TaskStatus, error_code: str | None, count: int = 1) -> "Progress":
        """Return the progress with so many more tasks that stand so."""
        counts = {**self.counts, status: self.counts.get(status, 0) + count}
        skipped = count if error_code == ErrorCode.DEPENDENCY_UNMET else 0
        return Progress(counts=counts, skipped=self.skipped + skipped)

    @property
    def status(self) -> WorkflowStatus:
        """One that failed makes the whole fail; one that was not wanted leaves it as the others made it."""
        open_ones = sum(count for status, count in self.counts.items() if not status.is_terminal)
        if open_ones:
            untouched = self.counts.get(TaskStatus.PENDING, 0) == sum(self.counts.values())
            return WorkflowStatus.PENDING if untouched else WorkflowStatus.RUNNING
        if self.counts.get(TaskStatus.FAILED):
            return WorkflowStatus.FAILED
        cancelled = self.counts.get(TaskStatus.CANCELLED, 0) > self.skipped
        return WorkflowStatus.CANCELLED if cancelled else WorkflowStatus.COMPLETED


def check_workflow(name: str, steps: Sequence[Step]) -> None:
    """Raise InvalidInput for a graph that cannot be; its tasks are checked as any other."""
    check_text("name", name, MAX_NAME_CHARACTERS)
    for index, step in enumerate(steps):
        _check_step(f"tasks.{index}", step)
    keys = [step.key for step in steps]
    check_distinct("tasks", keys, "has the key {} twice")
    total = sum(step.size for step in steps)
    if not 1 <= total <= MOST_TASKS:
        problem = f"must be 1 to {MOST_TASKS} tasks, those of arrays counted, not {total}"
        raise InvalidInput.field("tasks", problem)
    sizes = {step.key: step.size for step in steps}
    for index, step in enumerate(steps):
        _check_parents(f"tasks.{index}.dependsOn", step, sizes)
    check_acyclic({step.key: [parent.key for parent in step.depends_on] for step in steps})
    links = sum(step.size * sum(sizes[parent.key] for parent in step.depends_on) for step in steps)
    if links > MOST_LINKS:
        problem = f"they wait for each other {links} times in all; at most {MOST_LINKS} may be"
        raise InvalidInput.field("tasks", f"{problem}: put a task between two arrays")


def _check_step(place: str, step: Step) -> None:
    check_identifier(f"{place}.key", step.key)
    if step.spec.idempotency_key is not None:
        problem = "has no place in a workflow, which has one for all of it; leave it out"
        raise InvalidInput.field(f"{place}.idempotencyKey", problem)
    if step.array is None:
        return
    check_number(f"{place}.array.count", step.array.count, 1, MOST_TASKS)
    if step.array.max_parallel is None:
        return
    check_number(f"{place}.array.maxParallel", step.array.max_parallel, 1, MOST_TASKS)
    if step.spec.concurrency_key is not None:
        problem = "is a cap of its own; leave either it or concurrencyKey out"
        raise InvalidInput.field(f"{place}.array.maxParallel", problem)


def _check_parents(place: str, step: Step, sizes: Mapping[str, int]) -> None:
    for index, parent in enumerate(step.depends_on):
        if parent.key not in sizes:
            problem = f"there is no task with the key {parent.key[:80]!r} in this workflow"
            raise InvalidInput.field(f"{place}.{index}.key", problem)
    check_distinct(place, [parent.key for parent in step.depends_on])
    count = sum(sizes[parent.key] for parent in step.depends_on)
    if count > MOST_PARENTS:
        raise InvalidInput.field(place, f"makes {count} tasks to wait for; at most {MOST_PARENTS} may be")


def members_of(steps: Sequence[Step], new_ids: Iterator[str]) -> tuple[Member, ...]:
    """Give every task of the steps an id."""
    return tuple(
        Member(
            key=step.key,
            task_id=next(new_ids),
            depends_on=step.depends_on,
            array_index=None if step.array is None else index,
        )
        for step in steps
        for index in range(step.size)
    )


def specs_of(workflow_id: str, steps: Sequence[Step], members: Sequence[Member]) -> list[TaskSpec]:
    """Return the specification of each member: keys become ids, and an array's task knows its place."""
    ids: dict[str, list[str]] = {}
    for member in members:
        ids.setdefault(member.key, []).append(member.task_id)
    by_key = {step.key: step for step in steps}
    return [_spec(workflow_id, by_key[member.key], member, ids) for member in members]


def _spec(workflow_id: str, step: Step, member: Member, ids: Mapping[str, Sequence[str]]) -> TaskSpec:
    depends_on = tuple(
        Dependency(task_id=task_id, when=parent.when)
        for parent in step.depends_on
        for task_id in ids[parent.key]
    )
    spec = replace(step.spec, depends_on=depends_on)
    if step.array is None or member.array_index is None:
        return spec
    limit = step.array.max_parallel
    return replace(
        spec,
        name=f"{spec.name}-{member.array_index}",
        concurrency_key=spec.concurrency_key if limit is None else f"{ARRAY_KEYS}{workflow_id}/{step.key}",
        array=ArrayPlace(index=member.array_index, count=step.array.count, max_parallel=limit),
    )
