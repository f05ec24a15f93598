"""Graphs of tasks: when a dependent starts, when it never will, and which graphs there cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.errors import IllegalTransition, InvalidInput
from podling.core.explain import explain
from podling.core.graph import (
    MOST_PARENTS,
    Links,
    Outlook,
    ParentEnd,
    check_acyclic,
    check_dependencies,
    decide,
    outlook,
)
from podling.core.lifecycle import Assign, Cancel, ParentsMet, ParentUnmet, RetryNow, apply
from podling.core.policy import validate_spec
from podling.core.retry import ErrorCode
from podling.core.spec import Dependency, When
from podling.core.task import TaskStatus
from podling.core.timeline import timeline
from podling.core.view import View
from tests.builders import NOW, at, build_dependent, build_spec, build_task

OPEN, MET, UNMET = Outlook.OPEN, Outlook.MET, Outlook.UNMET


@pytest.mark.parametrize(
    ("when", "outlooks"),
    [
        (When.SUCCESS, {None: OPEN, "completed": MET, "failed": UNMET, "cancelled": UNMET, "gone": UNMET}),
        (When.FAILURE, {None: OPEN, "completed": UNMET, "failed": MET, "cancelled": UNMET, "gone": UNMET}),
        (When.ALWAYS, {None: OPEN, "completed": MET, "failed": MET, "cancelled": MET, "gone": MET}),
    ],
)
def test_each_condition_is_met_by_its_own_ends(when: When, outlooks: Mapping[str | None, Outlook]) -> None:
    assert {end: outlook(when, end and ParentEnd(end)) for end in outlooks} == outlooks


def links(*stands: tuple[When, ParentEnd | None]) -> list[Links]:
    return [
        Links(when=when, end=end, count=1, example=f"parent-{number}")
        for number, (when, end) in enumerate(stands)
    ]


def test_all_parents_have_to_meet_their_conditions() -> None:
    both = links((When.SUCCESS, ParentEnd.COMPLETED), (When.FAILURE, ParentEnd.FAILED))
    assert decide(both) == ParentsMet(parents=2)
    assert decide([*both, *links((When.ALWAYS, None))]) is None


def test_one_parent_that_cannot_meet_it_any_more_is_enough_whatever_the_others_do() -> None:
    event = decide(links((When.SUCCESS, None), (When.SUCCESS, ParentEnd.FAILED)))
    assert event == ParentUnmet(
        reason="it starts only when task parent-1 has completed, and that has failed", parent_id="parent-1"
    )


def test_a_dependent_is_due_when_it_is_let_go_or_at_its_own_later_time() -> None:
    task = build_dependent("a")
    assert apply(task, ParentsMet(parents=1), at(5)).task.run_at == at(5)
    later = replace(task, spec=replace(task.spec, run_at=at(60)))
    assert apply(later, ParentsMet(parents=1), at(5)).task.run_at == at(60)


def test_a_dependent_cannot_be_started_or_hurried_before() -> None:
    for event in (Assign(node_id="node-1"), RetryNow()):
        with pytest.raises(IllegalTransition, match="waits for others"):
            apply(build_dependent("a"), event, NOW)


def test_what_never_can_start_ends_cancelled_with_a_code_of_its_own_and_once() -> None:
    event = ParentUnmet(reason="it starts only when task a has completed, and that has failed", parent_id="a")
    ended = apply(build_dependent("a"), event, at(5))
    assert (ended.task.status, ended.task.error_code) == (TaskStatus.CANCELLED, ErrorCode.DEPENDENCY_UNMET)
    assert (ended.task.error, ended.task.dead_letter_reason) == (event.reason, None)
    assert [(told.type, told.details) for told in ended.events] == [("parent_unmet", {"taskId": "a"})]
    with pytest.raises(IllegalTransition):
        apply(ended.task, event, at(6))
    let_go = apply(build_dependent("a"), ParentsMet(parents=1), at(5)).task
    assert apply(let_go, event, at(6)).task is let_go
    assert apply(let_go, ParentsMet(parents=1), at(6)).task is let_go


def test_a_dependent_that_waits_can_be_cancelled_and_has_no_time_in_the_queue() -> None:
    task = build_dependent("a", queue_timeout_seconds=1)
    assert apply(task, Cancel(), at(5)).task.status is TaskStatus.CANCELLED


def test_explain_and_timeline_say_what_is_waited_for() -> None:
    task = build_dependent("a", "b", "c")
    parents = {"a": TaskStatus.COMPLETED, "b": TaskStatus.RUNNING, "c": TaskStatus.PENDING}
    said = explain(task, [], View(), 0, NOW, parents=parents)
    assert said.summary == (
        "It waits for task b to complete, which is running, one of 2 that have not ended of the 3 that it"
        " depends on."
    )
    assert [reason.details["taskId"] for reason in said.reasons] == ["b", "c"]
    assert said.advice == "See podling explain b for what that one waits for."
    assert timeline(task, [], [])[0].message == "submitted to queue default, to start after 3 other tasks"


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (["a"] * 2, "dependsOn: names a twice"),
        ([""], "dependsOn.0.taskId"),
        (["a b"], "dependsOn.0.taskId"),
        (["x" * 10_000], "dependsOn.0.taskId"),
        ([f"t{number}" for number in range(10_000)], "names 10000 tasks; at most 1000"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(ids: list[str], problem: str) -> None:
    depends_on = tuple(Dependency(task_id=task_id) for task_id in ids)
    with pytest.raises(InvalidInput, match=problem):
        validate_spec(build_spec(depends_on=depends_on))


def test_as_many_parents_as_may_be_are_taken() -> None:
    check_dependencies([Dependency(task_id=f"t{number}") for number in range(MOST_PARENTS)])


def test_a_cycle_is_refused_and_shown() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_acyclic({"a": [], "b": ["d", "a"], "c": ["b"], "d": ["c"]})
    cycle = refused.value.details["cycle"]
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"b", "c", "d"}
    assert " → ".join(cycle) in refused.value.message
    with pytest.raises(InvalidInput, match="a → a"):
        check_acyclic({"a": ["a"]})


def test_a_chain_of_thousands_is_no_cycle() -> None:
    check_acyclic({str(number): [str(number - 1)] if number else [] for number in range(5000)})


@dataclass(frozen=True)
class Graph:
    """Tasks by number, each with its earlier parents, and how it ends if it starts."""

    parents: tuple[Mapping[int, When], ...]
    ends: tuple[ParentEnd, ...]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 9))
    whens = st.sampled_from(When)
    parents = [
        draw(st.dictionaries(st.integers(0, number - 1), whens, max_size=4)) if number else {}
        for number in range(size)
    ]
    ends = st.sampled_from([ParentEnd.COMPLETED, ParentEnd.COMPLETED, ParentEnd.FAILED, ParentEnd.CANCELLED])
    return Graph(tuple(parents), tuple(draw(ends) for _ in range(size)))


def run(graph: Graph, chance: Random) -> tuple[dict[int, ParentEnd], set[int]]:
    """Decide and end tasks in any order until nothing is left; return how each ended, and which started."""
    ends: dict[int, ParentEnd] = {}
    started: set[int] = set()
    while len(ends) < len(graph.parents):
        task = chance.choice([number for number in range(len(graph.parents)) if number not in ends])
        stands = links(*((when, ends.get(parent)) for parent, when in graph.parents[task].items()))
        event = decide(stands)
        if isinstance(event, ParentsMet):
            assert all(outlook(link.when, link.end) is MET for link in stands)
            started.add(task)
            ends[task] = graph.ends[task]
        elif isinstance(event, ParentUnmet):
            ends[task] = ParentEnd.CANCELLED
    return ends, started


@given(graphs(), st.randoms(use_true_random=False))
def test_every_task_of_a_graph_starts_or_ends_by_its_parents_alone_whatever_the_order(
    graph: Graph, chance: Random
) -> None:
    ends, started = run(graph, chance)
    assert run(graph, chance) == (ends, started)
    for task, parents in enumerate(graph.parents):
        meets = [outlook(when, ends[parent]) is MET for parent, when in parents.items()]
        assert (task in started) is all(meets)
    check_acyclic({str(task): map(str, parents) for task, parents in enumerate(graph.parents)})


def test_only_a_task_that_waits_is_told_from_others() -> None:
    assert not build_task().waits_for_parents
    assert build_dependent("a").waits_for_parents
