from collections.abc import Callable

import pytest

from podling.boot.failure import run
from podling.core.errors import ConfigurationError, StoreUnavailable


def raises(error: BaseException) -> Callable[[], int | None]:
    def main() -> int | None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigurationError("set DATABASE_URL"), "set DATABASE_URL"),
        (
            ExceptionGroup("g", [ValueError("x"), StoreUnavailable("the database is away")]),
            "the database is away",
        ),
        (OSError(98, "Address already in use"), "Address already in use"),
        (PermissionError(13, "Permission denied", "/data"), "/data: Permission denied"),
        (RuntimeError("what"), "unforeseen RuntimeError: what; set --log-level debug to see where"),
        (ConfigurationError("postgres://u:hunter22@h fails"), "postgres://u:***@h fails"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    error: Exception, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raises(error), "podling-master") == 1
    assert capsys.readouterr().err == f"podling-master: {expected}\n"


def test_an_interrupt_is_130_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raises(KeyboardInterrupt()), "podling-master") == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (7, 7)])
def test_the_program_s_own_exit_code_is_kept(returned: int | None, code: int) -> None:
    assert run(lambda: returned, "podling") == code
