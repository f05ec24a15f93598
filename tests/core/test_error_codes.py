"""Every error code: whether it is tried again, by which budget, and what a person is told to do."""

import pytest

from podling.core.agent_attempt import HeldContainer, failure_of
from podling.core.dead_letters import MEANINGS, DeadLetterReason, letter_of
from podling.core.explain import explain
from podling.core.lifecycle import Assign, apply
from podling.core.retry import ADVICE, FINAL, INFRASTRUCTURE, ErrorCode, advice_for
from podling.core.spec import ContainerSpec, RetryPolicy
from podling.core.task import Task, TaskStatus
from podling.core.view import View
from tests.builders import NOW, assignment, build_task, ended

RETRIED = "TIMEOUT DEPENDENCY_DOWN RATE_LIMIT DB_DEADLOCK SERIALIZATION PANIC UNKNOWN".split()
NOT_RETRIED = "BAD_PAYLOAD UNKNOWN_JOB_TYPE".split()


def after_failure(code: str, **fields: object) -> Task:
    task = assignment(build_task(**({"max_attempts": 5} | fields))).task
    return apply(task, ended(task, exit_code=1, error_code=code), NOW).task


@pytest.mark.parametrize("code", RETRIED)
def test_what_may_pass_is_tried_again(code: str) -> None:
    task = after_failure(code)
    assert (task.status, task.failures, letter_of(task)) == (TaskStatus.PENDING, 1, None)
    assert task.run_at > NOW


@pytest.mark.parametrize("code", NOT_RETRIED)
def test_what_can_only_fail_again_is_a_dead_letter_at_once(code: str) -> None:
    task = after_failure(code)
    assert (task.status, task.dead_letter_reason) == (TaskStatus.FAILED, "NON_RETRYABLE")
    assert letter_of(task) is not None


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_is_charged_to_one_budget_and_comes_to_an_end(code: ErrorCode) -> None:
    task = build_task(max_attempts=3, max_losses=2, retry=RetryPolicy(base_seconds=0))
    tries = 0
    while not task.status.is_terminal:
        tries += 1
        task = apply(task, Assign(node_id="node-1"), NOW).task
        task = apply(task, ended(task, exit_code=1, error_code=code), NOW).task
    assert (task.status, tries) == (TaskStatus.FAILED, 1 if code in FINAL else 3)
    assert (task.losses, task.failures) == ((tries, 0) if code in INFRASTRUCTURE else (0, tries))


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_can_be_left_out_by_the_policy_but_for_losses(code: ErrorCode) -> None:
    assert after_failure(code, retry=RetryPolicy(not_on=(code,))).status.is_terminal is (
        code not in INFRASTRUCTURE
    )


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_has_advice_that_explain_shows(code: ErrorCode) -> None:
    task = after_failure(code, max_attempts=1, max_losses=0)
    advice = explain(task, (), View(), 0, NOW).advice
    assert advice == ADVICE[code] == advice_for(code)
    assert len(advice.split()) >= 4 and advice[0].isupper() and advice.endswith(".")


def test_each_reason_of_a_dead_letter_has_a_meaning() -> None:
    assert set(MEANINGS) == set(DeadLetterReason)


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [
        *((0, None), (1, "EXIT_CODE"), (75, "EXIT_CODE"), (127, "EXIT_CODE"), (128, "EXIT_CODE")),
        *((137, "SIGNAL"), (143, "SIGNAL"), (192, "SIGNAL"), (193, "EXIT_CODE"), (255, "EXIT_CODE")),
        (None, "UNKNOWN_EXIT"),
    ],
)
def test_exit_codes_and_signals_have_codes_of_their_own(exit_code: int | None, code: str | None) -> None:
    failure = failure_of(HeldContainer(spec=ContainerSpec(), exit_code=exit_code))
    assert (failure and failure[0]) == code


def test_what_the_runtime_knows_goes_before_the_exit_code() -> None:
    out_of_memory = HeldContainer(spec=ContainerSpec(), exit_code=137, error_code="OOM", error="too much")
    assert failure_of(out_of_memory) == ("OOM", "too much")
