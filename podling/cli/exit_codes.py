"""What the command's exit code means; docs/cli.md says the same."""

from podling.core.errors import (
    ConfigurationError,
    Conflict,
    InvalidInput,
    NotFound,
    PodlingError,
    TooManyRequests,
    Unavailable,
)

FAILED = 1
WAIT_TIMED_OUT = 124
INTERRUPTED = 130
READER_GONE = 141

_BY_ERROR: tuple[tuple[type[PodlingError], int], ...] = (
    (InvalidInput, 2),
    (ConfigurationError, 2),
    (NotFound, 3),
    (Conflict, 4),
    (TooManyRequests, 5),
    (Unavailable, 5),
)


def exit_code_of(error: PodlingError) -> int:
    if error.code == "wait_timed_out":
        return WAIT_TIMED_OUT
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), FAILED)
