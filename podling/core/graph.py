"""Graphs of tasks: what a dependent waits for, and what the ends of its parents make of it.

A parent counts when the task has ended, whatever its attempts did before. A dependent starts when every
parent meets its condition; it ends, cancelled, as soon as one cannot meet it any more, and then it is a
parent that was cancelled to those that wait for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from podling.core.errors import InvalidInput
from podling.core.fields import check_identifier, check_number
from podling.core.lifecycle import ParentsMet, ParentUnmet
from podling.core.spec import Dependency, TaskSpec, When
from podling.core.task import Task, TaskStatus
from podling.core.value import value

MOST_PARENTS = 1000
MOST_TASKS = 1000  # of a graph
ARRAY_KEYS = "array/"
"""Begins the concurrency keys of arrays, whose cap is their own."""

_LONGEST_CYCLE = 20


class ParentEnd(StrEnum):
    """How a parent has ended; GONE: it was removed before anybody noted how."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"


class Outlook(StrEnum):
    """Of one condition."""

    OPEN = "open"
    MET = "met"
    UNMET = "unmet"  # for good


_MEETS = {
    When.SUCCESS: frozenset({ParentEnd.COMPLETED}),
    When.FAILURE: frozenset({ParentEnd.FAILED}),
    When.ALWAYS: frozenset(ParentEnd),
}
_VERBS = {When.SUCCESS: "complete", When.FAILURE: "fail", When.ALWAYS: "end"}
_WISHES = {
    When.SUCCESS: "starts only when task {} has completed",
    When.FAILURE: "starts only when task {} has failed",
    When.ALWAYS: "starts when task {} has ended",
}
_ENDS = {
    ParentEnd.COMPLETED: "that has completed",
    ParentEnd.FAILED: "that has failed",
    ParentEnd.CANCELLED: "that was cancelled",
    ParentEnd.GONE: "that is not on record any more",
}


@value
class Links:
    """Of one dependent: `count` parents with the condition `when` stand at `end`; `example` is one."""

    when: When
    end: ParentEnd | None
    count: int
    example: str


def outlook(when: When, end: ParentEnd | None) -> Outlook:
    """Say whether a parent that stands so meets the condition."""
    if end is None:
        return Outlook.OPEN
    return Outlook.MET if end in _MEETS[when] else Outlook.UNMET


def end_of(status: TaskStatus) -> ParentEnd | None:
    """Return how a parent with this status has ended; None if it has not."""
    return ParentEnd(status.value) if status.is_terminal else None


def decide(links: Sequence[Links]) -> ParentsMet | ParentUnmet | None:
    """Return what becomes of a dependent; None as long as it waits."""
    by_outlook = {outlook(link.when, link.end): link for link in links}
    unmet = by_outlook.get(Outlook.UNMET)
    if unmet is not None and unmet.end is not None:
        wish = _WISHES[unmet.when].format(unmet.example)
        return ParentUnmet(reason=f"it {wish}, and {_ENDS[unmet.end]}", parent_id=unmet.example)
    if Outlook.OPEN in by_outlook:
        return None
    return ParentsMet(parents=sum(link.count for link in links))


def open_dependencies(task: Task, parents: Mapping[str, TaskStatus]) -> tuple[Dependency, ...]:
    """Return the task's dependencies whose parents, of those on record, have not ended."""
    return tuple(
        each
        for each in task.spec.depends_on
        if each.task_id in parents and not parents[each.task_id].is_terminal
    )


def waits_clause(task: Task) -> str:
    """Return in a few words what a task waits for, without a look at how far that is."""
    count = len(task.spec.depends_on)
    if count == 1:
        return f"task {task.spec.depends_on[0].task_id} has to {_VERBS[task.spec.depends_on[0].when]} first"
    return f"{count} tasks that it depends on have to end first"


def wish_of(dependency: Dependency) -> str:
    """Return a clause that says what is waited for."""
    return f"task {dependency.task_id} to {_VERBS[dependency.when]}"


def check_dependencies(dependencies: Sequence[Dependency]) -> None:
    """Raise InvalidInput for parents that are too many, doubled, or no ids."""
    if len(dependencies) > MOST_PARENTS:
        problem = f"names {len(dependencies)} tasks; at most {MOST_PARENTS} may be waited for"
        raise InvalidInput.field("dependsOn", problem)
    for index, dependency in enumerate(dependencies):
        check_identifier(f"dependsOn.{index}.taskId", dependency.task_id)
    check_distinct("dependsOn", [dependency.task_id for dependency in dependencies])


def check_place(spec: TaskSpec) -> None:
    """Raise InvalidInput for a place that no array has."""
    place = spec.array
    assert place is not None
    check_number("array.count", place.count, 1, MOST_TASKS)
    check_number("array.index", place.index, 0, place.count - 1)
    if place.max_parallel is not None:
        check_number("array.maxParallel", place.max_parallel, 1, MOST_TASKS)
        if not (spec.concurrency_key or "").startswith(ARRAY_KEYS):
            raise InvalidInput.field("array.maxParallel", "needs the concurrencyKey of its array beside it")


def check_distinct(field: str, names: Sequence[str], problem: str = "names {} twice") -> None:
    """Raise InvalidInput if a name is there twice: two conditions on one parent may contradict each other."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidInput.field(field, problem.format(name))
        seen.add(name)


def check_acyclic(parents: Mapping[str, Iterable[str]]) -> None:
    """Raise InvalidInput that shows a cycle of a graph, given as the parents of each key."""
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        cycle = list(error.args[1])
        shown = " → ".join(cycle if len(cycle) <= _LONGEST_CYCLE else [*cycle[:_LONGEST_CYCLE], "…"])
        raise InvalidInput(
            f"tasks: they wait for each other in a circle: {shown}",
            code="cycle",
            details={"field": "tasks", "cycle": cycle},
        ) from None
