"""The end that a statement has committed with its work stands, whatever else is said of its attempt."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.errors import StaleAttempt
from podling.core.lifecycle import Cancel, Deadline, DeclareLost, Event, Evict, Lose, Resolve, apply
from podling.core.protocol import ReportKind
from podling.core.retry import ErrorCode
from podling.core.spec import Delivery, OnLost, Runtime
from podling.core.statement_end import StatementEnd, ended, settled
from podling.core.task import ContainerState, ContainerStatus, Resolution, StopReason, TaskStatus
from tests.builders import NOW, at, build_spec, build_task, reported

DONE = at(5)
RUNNING = build_task(
    spec=build_spec(runtime=Runtime.SQL, statement="SELECT 1", delivery=Delivery.AT_MOST_ONCE),
    status=TaskStatus.RUNNING,
    attempt=2,
    node_id="node-1",
    scheduled_at=NOW,
    started_at=NOW,
    done_at=DONE,
)
_MAIN = ContainerState(name="main", status=ContainerStatus.RUNNING, started_at=NOW)
RUNNING = replace(RUNNING, containers=(_MAIN,))


@pytest.mark.parametrize("stop", [None, StopReason.CANCEL, StopReason.DRAIN])
@pytest.mark.parametrize(
    "event",
    [
        Lose(attempt=2, reason="gone"),
        DeclareLost(attempt=2, reason="gone"),
        Evict(attempt=2, reason="drained"),
        Cancel(),
        Deadline(),
        Resolve(outcome=Resolution.RETRY),
        reported(RUNNING, ReportKind.RUNNING),
        reported(RUNNING, ReportKind.ENDED, error_code=ErrorCode.EXTERNAL, error="its worker ended"),
        reported(RUNNING, ReportKind.ENDED, error_code=ErrorCode.UNKNOWN_EXIT),
        reported(RUNNING, ReportKind.REFUSED),
        ended(RUNNING.task_id, StatementEnd(attempt=2, node_id="node-1", at=DONE)),
    ],
)
def test_whatever_comes_it_is_completed(event: Event, stop: StopReason | None) -> None:
    for held in (None, "its node is lost"):
        task = replace(RUNNING, stop_reason=stop, held=held)
        after = apply(task, settled(task, event), at(9)).task
        assert (after.status, after.exit_code, after.error_code) == (TaskStatus.COMPLETED, 0, None)
        assert (after.attempt, after.finished_at, after.version) == (2, DONE, task.version + 1)
        assert (after.containers[0].status, after.containers[0].exit_code) == (ContainerStatus.TERMINATED, 0)


def test_what_speaks_of_another_attempt_stays_wrong() -> None:
    earlier = replace(reported(RUNNING, ReportKind.ENDED).report, attempt=1)
    for event in (
        Lose(attempt=1, reason="gone"),
        replace(reported(RUNNING, ReportKind.ENDED), report=earlier),
    ):
        assert settled(RUNNING, event) is event
        with pytest.raises(StaleAttempt):
            apply(RUNNING, settled(RUNNING, event), NOW)


def test_what_its_worker_tells_of_a_good_end_is_taken_as_it_is() -> None:
    told = reported(RUNNING, ReportKind.ENDED, exit_code=0, containers=RUNNING.containers)
    assert settled(RUNNING, told) is told


@pytest.mark.parametrize("fields", [{"done_at": None}, {"status": TaskStatus.COMPLETED}])
def test_any_other_task_goes_its_way(fields: dict[str, Any]) -> None:
    task = replace(RUNNING, **fields)
    event = Lose(attempt=2, reason="gone")
    assert settled(task, event) is event


def test_without_the_row_s_word_an_end_is_that_of_any_worker() -> None:
    task = replace(RUNNING, done_at=None, spec=replace(RUNNING.spec, on_lost=OnLost.RETRY))
    end = ended(task.task_id, StatementEnd(attempt=2, node_id="node-1", at=DONE))
    assert apply(task, settled(task, end), NOW).task.status is TaskStatus.COMPLETED
