"""How a program ends: one sentence on stderr, never a traceback."""

import logging
import os
import sys
from collections.abc import Callable

from podling.boot.redaction import redact
from podling.core.errors import PodlingError

_FAILED = 1
_INTERRUPTED = 130

_log = logging.getLogger(__name__)


def run(main: Callable[[], int | None], program: str) -> int:
    """Call `main` and return the exit code: its own, 1 with a sentence, or 130 when interrupted.

    A fault that Podling did not foresee is one line as well; its traceback goes to the log at level
    debug.
    """
    try:
        return main() or 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where it can be told
        _log.debug("the program failed", exc_info=True)
        print(f"{program}: {redact(sentence(error))}", file=sys.stderr)  # noqa: T201
        return _FAILED


def sentence(error: BaseException) -> str:
    """Return what to tell a person about an error; of a group, its first."""
    if isinstance(error, BaseExceptionGroup):
        known = error.subgroup(PodlingError)
        return sentence((known or error).exceptions[0])
    if isinstance(error, PodlingError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        return f"{named}{reason}"
    return f"unforeseen {type(error).__name__}: {error}; set --log-level debug to see where"
