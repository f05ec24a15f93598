"""What tests of every kind need."""

import os

import pytest

IN_SOAK = bool(os.environ.get("PODLING_SOAK"))
"""Whether this is `make soak`: more rounds, longer waits, and the tests that are marked `soak`."""


def require(condition: object, reason: str) -> None:
    """Skip the test if a real part is missing; with CI=true that is a failure."""
    if condition:
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"missing with CI=true: {reason}", pytrace=False)
    pytest.skip(reason)
