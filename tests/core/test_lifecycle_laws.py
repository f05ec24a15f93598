"""Laws that hold whatever happens to a task, in whatever order."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given

from podling.core.errors import IllegalTransition, StaleAttempt
from podling.core.lifecycle import TABLE, Assign, Event, EventKind, Reported, apply, kind_of
from podling.core.protocol import ReportKind
from podling.core.spec import Delivery
from podling.core.task import AttemptStatus, StopReason, Task, TaskStatus
from tests.builders import NOW, build_task
from tests.core.histories import History, Step, histories

_LIVE_ROWS = {AttemptStatus.SCHEDULED, AttemptStatus.RUNNING}


def _in(status: TaskStatus) -> dict[str, object]:
    live = {"attempt": 1, "node_id": "node-1", "scheduled_at": NOW}
    return {"status": status, **({} if status is TaskStatus.PENDING else live)}


@pytest.mark.parametrize("status", TaskStatus)
@pytest.mark.parametrize("kind", EventKind)
def test_every_event_in_every_state_moves_by_the_table_or_is_refused(
    kind: EventKind, status: TaskStatus
) -> None:
    task = build_task(**_in(status))
    if kind is EventKind.RESOLVE:
        task = replace(task, held="its node is lost")
    event = Step(kind=kind).event(task, NOW)
    if kind is EventKind.REFUSED and status is TaskStatus.RUNNING:
        kind = EventKind.ENDED  # what runs was started, so it cannot be sent back
    if status in TABLE[kind].sources:
        assert TABLE[kind].allows(status, apply(task, event, NOW).task.status)
        return
    with pytest.raises((IllegalTransition, StaleAttempt)) as refused:
        apply(task, event, NOW)
    assert refused.value.details["taskId"] == task.task_id
    assert refused.value.details["status"] == status


def test_the_table_names_every_event_and_leaves_no_final_state() -> None:
    assert set(TABLE) == set(EventKind)
    assert not [kind for kind, move in TABLE.items() if any(s.is_terminal for s in move.sources)]


@given(histories)
def test_only_moves_of_the_table_are_made(history: History) -> None:
    for before, event, transition in history.transitions:
        kind = kind_of(event)
        if kind is EventKind.REFUSED and before.status is TaskStatus.RUNNING:
            kind = EventKind.ENDED
        assert TABLE[kind].allows(before.status, transition.task.status)


@given(histories)
def test_refusals_are_typed_and_carry_the_story(history: History) -> None:
    for refusal in history.refusals:
        assert isinstance(refusal, IllegalTransition | StaleAttempt)
        assert refusal.message


@given(histories)
def test_terminal_is_final(history: History) -> None:
    assert not [before for before, _, _ in history.transitions if before.status.is_terminal]


@given(histories)
def test_at_most_one_attempt_is_live_and_it_is_the_newest(history: History) -> None:
    live = [row.attempt for row in history.rows() if row.status in _LIVE_ROWS]
    if history.task.status.is_live:
        assert live == [history.task.attempt]
    else:
        assert live == []


@given(histories)
def test_attempt_numbers_count_up_by_one_with_each_assignment(history: History) -> None:
    numbers = [
        transition.task.attempt for _, event, transition in history.transitions if isinstance(event, Assign)
    ]
    assert numbers == list(range(1, len(numbers) + 1))
    assert history.task.attempt == len(numbers) == len(history.attempts)


@given(histories)
def test_a_report_of_another_attempt_or_node_changes_nothing(history: History) -> None:
    for before, event, _ in history.transitions:
        if isinstance(event, Reported):
            assert (event.report.attempt, event.node_id) == (before.attempt, before.node_id)


@given(histories)
def test_the_version_grows_by_one_with_every_change_and_else_not(history: History) -> None:
    for before, _, transition in history.transitions:
        if transition.task is before:
            assert transition.attempt is None
            assert transition.events == ()
        else:
            assert transition.task.version == before.version + 1


@given(histories)
def test_at_most_once_starts_again_only_what_never_started_or_an_operator_released(
    history: History,
) -> None:
    if history.task.spec.delivery is not Delivery.AT_MOST_ONCE:
        return
    for before, event, transition in history.transitions:
        if before.status.is_live and transition.task.status is TaskStatus.PENDING:
            kind = kind_of(event)
            is_denied = isinstance(event, Reported) and (
                event.report.never_started or event.report.kind is ReportKind.REFUSED
            )
            never_started = is_denied and before.status is TaskStatus.SCHEDULED
            assert never_started or kind is EventKind.RESOLVE


@given(histories)
def test_budgets_bound_the_attempts(history: History) -> None:
    task = history.task
    assert task.losses <= task.spec.max_losses + 1
    assert task.failures <= task.spec.max_attempts
    returned = Counter(
        kind_of(event) is EventKind.RESOLVE
        or (kind_of(event) is EventKind.REFUSED and before.status is TaskStatus.SCHEDULED)
        or _was_moved_away(before, event)
        for before, event, transition in history.transitions
        if before.status.is_live and transition.task.status is TaskStatus.PENDING
    )
    assert returned[False] == task.failures + task.losses - (
        task.dead_letter_reason is not None and _was_charged(history)
    )


def _was_moved_away(before: Task, event: Event) -> bool:
    return (
        before.stop_reason is StopReason.DRAIN
        and isinstance(event, Reported)
        and event.report.stopped_by is StopReason.STALE
    )


def _was_charged(history: History) -> bool:
    before, _, transition = history.transitions[-1]
    after = transition.task
    return (before.failures, before.losses) != (after.failures, after.losses)


@given(histories)
def test_no_attempt_follows_a_stop_order(history: History) -> None:
    stopped = False
    for _, event, transition in history.transitions:
        assert not (stopped and isinstance(event, Assign))
        stopped = stopped or transition.task.must_end
    if stopped:
        assert history.task.status is not TaskStatus.PENDING


@given(histories)
def test_what_has_ended_badly_says_why(history: History) -> None:
    task = history.task
    if task.status is TaskStatus.FAILED:
        assert task.error_code
        assert task.dead_letter_reason
    if task.status is TaskStatus.COMPLETED:
        assert (task.error_code, task.error, task.dead_letter_reason) == (None, None, None)
    if task.status.is_terminal:
        assert task.finished_at is not None
        assert task.held is None


@given(histories)
def test_a_task_that_waits_is_on_no_node_and_a_live_one_is(history: History) -> None:
    task = history.task
    if task.status is TaskStatus.PENDING:
        assert (task.node_id, task.scheduled_at, task.containers, task.held) == (None, None, (), None)
    if task.status.is_live:
        assert task.node_id is not None
        assert task.scheduled_at is not None
    assert task.held is None or task.status.is_live
