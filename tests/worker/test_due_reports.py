"""When reports are sent: a start waits for its end, and what is not answered is sent again."""

from datetime import UTC, datetime

import pytest

from podling.core.agent import AgentState
from podling.core.agent_attempt import Held
from podling.core.protocol import Report, ReportKind
from podling.core.spec import Runtime
from podling.worker.due_reports import (
    HOLD_SECONDS,
    LONGEST_HOLD_SECONDS,
    MOST_REPORTS,
    SEND_AGAIN_SECONDS,
    DueReports,
)
from tests.core.agent_model import assignment, key_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING, ENDED, UPDATE = ReportKind.RUNNING, ReportKind.ENDED, ReportKind.UPDATE


def outbox(*kinds: ReportKind | None, first: int = 1) -> AgentState:
    """Return a state with these reports, numbered in their order; None is one that is answered."""
    reports = {
        number: Report(sequence=number, task_id=f"t{number}", attempt=1, kind=kind, at=NOW)
        for number, kind in enumerate(kinds, first)
        if kind is not None
    }
    return AgentState(outbox=reports, next_sequence=first + len(kinds))


def taken(reports: DueReports, state: AgentState, now: float) -> list[int]:
    return [report.sequence for report in reports.take(state, now)]


def test_an_end_is_sent_at_once_and_a_start_after_a_moment() -> None:
    reports, state = DueReports(), outbox(RUNNING, None, first=1)
    assert taken(reports, state, 10.0) == []
    assert reports.seconds_to_next(10.0) == pytest.approx(HOLD_SECONDS)
    assert taken(reports, state, 10.0 + HOLD_SECONDS) == [1]
    assert taken(reports, outbox(RUNNING, None, ENDED), 10.2) == [3]


@pytest.mark.parametrize(("runtime", "sent"), [(Runtime.DOCKER, [1]), (Runtime.PROCESS, [])])
def test_a_container_is_seen_to_run_at_once(runtime: Runtime, sent: list[int]) -> None:
    given = assignment(runtime=runtime)
    report = Report(sequence=1, task_id=given.task_id, attempt=given.attempt, kind=RUNNING, at=NOW)
    held = Held(assignment=given, containers=())
    state = AgentState(attempts={key_of(given): held}, outbox={1: report}, next_sequence=2)
    assert taken(DueReports(), state, 10.0) == sent


def test_a_start_whose_end_has_come_is_never_sent() -> None:
    reports = DueReports()
    assert taken(reports, outbox(RUNNING), 10.0) == []
    assert taken(reports, outbox(None, ENDED), 10.05) == [2]
    assert taken(reports, outbox(None, ENDED), 10.0 + LONGEST_HOLD_SECONDS) == []


def test_starts_wait_longer_while_the_master_has_others_to_answer() -> None:
    reports = DueReports()
    assert taken(reports, outbox(ENDED), 10.0) == [1]
    state = outbox(ENDED, RUNNING)
    assert taken(reports, state, 10.0) == []
    assert taken(reports, state, 10.0 + 2 * HOLD_SECONDS) == []
    reports.answered([1])
    assert taken(reports, outbox(None, RUNNING), 10.0 + 2 * HOLD_SECONDS) == [2]


def test_however_long_the_master_takes_a_start_is_told_in_the_end() -> None:
    reports, state = DueReports(), outbox(ENDED, RUNNING)
    assert taken(reports, state, 10.0) == [1]
    assert reports.seconds_to_next(10.0) == pytest.approx(LONGEST_HOLD_SECONDS)
    assert taken(reports, state, 10.0 + LONGEST_HOLD_SECONDS) == [2]


def test_an_update_never_comes_before_its_start() -> None:
    assert taken(DueReports(), outbox(RUNNING, UPDATE), 10.0) == [1, 2]


def test_what_is_not_answered_is_sent_again_and_what_is_answered_is_not() -> None:
    reports, state = DueReports(), outbox(ENDED, ENDED)
    assert taken(reports, state, 10.0) == [1, 2]
    assert taken(reports, state, 10.0) == []
    reports.answered([1])
    assert taken(reports, state, 10.0 + SEND_AGAIN_SECONDS) == [2]


def test_a_message_holds_so_many_and_the_rest_follows() -> None:
    reports, state = DueReports(), outbox(*[ENDED] * (MOST_REPORTS + 2))
    assert len(reports.take(state, 10.0)) == MOST_REPORTS
    assert taken(reports, state, 10.0) == [MOST_REPORTS + 1, MOST_REPORTS + 2]
