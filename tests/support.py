"""What tests of every kind need."""

import os
import subprocess
from typing import Any

import pytest

END_SECONDS = 20.0

IN_SOAK = bool(os.environ.get("PODLING_SOAK"))
"""Whether this is `make soak`: more rounds, longer waits, and the tests that are marked `soak`."""


def require(condition: object, reason: str) -> None:
    """Skip the test if a real part is missing; with CI=true that is a failure."""
    if condition:
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"missing with CI=true: {reason}", pytrace=False)
    pytest.skip(reason)


def end(program: "subprocess.Popen[Any]") -> None:
    """Have a program stop by itself, or kill it if it takes too long over that."""
    program.terminate()
    try:
        program.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
