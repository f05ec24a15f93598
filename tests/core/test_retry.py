import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.retry import (
    ADVICE,
    FINAL,
    ErrorCode,
    advice_for,
    backoff_seconds,
    may_retry,
)
from podling.core.spec import RetryPolicy

policies = st.builds(
    RetryPolicy,
    base_seconds=st.floats(0, 3e8),
    factor=st.floats(1, 100),
    max_seconds=st.floats(0, 3e8),
    jitter=st.floats(0, 1),
)
draws = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 5000), draws)
def test_a_wait_is_never_negative_and_never_above_its_bound(
    policy: RetryPolicy, failures: int, draw: float
) -> None:
    assert 0 <= backoff_seconds(policy, failures, draw) <= policy.max_seconds


@given(policies, st.integers(1, 200), draws)
def test_waits_do_not_shrink_from_one_failure_to_the_next(
    policy: RetryPolicy, failures: int, draw: float
) -> None:
    first = backoff_seconds(policy, failures, draw)
    assert first <= backoff_seconds(policy, failures + 1, draw) * (1 + 1e-12)


@pytest.mark.parametrize(("failures", "wait"), [(1, 2.0), (2, 4.0), (3, 8.0), (10, 900.0), (5000, 900.0)])
def test_the_default_doubles_from_two_seconds_to_a_quarter_of_an_hour(failures: int, wait: float) -> None:
    assert backoff_seconds(RetryPolicy(), failures, 0.5) == wait


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 80.0), (0.5, 100.0), (0.75, 110.0)])
def test_jitter_spreads_around_the_wait(draw: float, wait: float) -> None:
    assert backoff_seconds(RetryPolicy(base_seconds=100), 1, draw) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("policy", "code", "exit_code", "allowed"),
    [
        (RetryPolicy(), "EXIT_CODE", 1, True),
        (RetryPolicy(on=("OOM",)), "EXIT_CODE", 1, False),
        (RetryPolicy(on=("exit:75",)), "EXIT_CODE", 75, True),
        (RetryPolicy(not_on=("exit:2",)), "EXIT_CODE", 2, False),
        (RetryPolicy(on=("EXIT_CODE",), not_on=("exit:2",)), "EXIT_CODE", 2, False),
    ],
)
def test_the_policy_says_what_is_retried(
    policy: RetryPolicy, code: str, exit_code: int, allowed: bool
) -> None:
    assert may_retry(policy, code, exit_code) is allowed


@pytest.mark.parametrize("code", sorted(FINAL))
def test_what_is_final_is_never_retried(code: ErrorCode) -> None:
    assert not may_retry(RetryPolicy(on=(code,)), code, None)


def test_every_code_has_advice_and_an_unknown_one_too() -> None:
    assert set(ADVICE) == set(ErrorCode)
    assert advice_for("MADE_UP") == ADVICE[ErrorCode.UNKNOWN]
    assert advice_for(None) is None
