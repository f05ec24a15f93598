"""What a database's refusals mean for a task: the error code, and the sentence."""

import asyncpg

from podling.core.errors import InvalidInput
from podling.core.retry import ErrorCode
from podling.handlers import Fail

_BY_STATE = {
    "40001": ErrorCode.SERIALIZATION,
    "40P01": ErrorCode.DB_DEADLOCK,
    "PDL01": ErrorCode.EXTERNAL,  # podling_end: another attempt has taken its place
    "55P03": ErrorCode.SERIALIZATION,  # it would not wait for a lock any longer
    "42501": ErrorCode.ACCESS_DENIED,
    "25006": ErrorCode.ACCESS_DENIED,  # a read-only login or server
}
_BY_CLASS = {
    "22": ErrorCode.BAD_PAYLOAD,
    "08": ErrorCode.DEPENDENCY_DOWN,
    "0A": ErrorCode.BAD_STATEMENT,
    "25": ErrorCode.BAD_STATEMENT,
    "26": ErrorCode.BAD_STATEMENT,
    "28": ErrorCode.DEPENDENCY_DOWN,
    "2D": ErrorCode.BAD_STATEMENT,
    "34": ErrorCode.BAD_STATEMENT,
    "3B": ErrorCode.BAD_STATEMENT,
    "3D": ErrorCode.DEPENDENCY_DOWN,
    "3F": ErrorCode.BAD_STATEMENT,
    "42": ErrorCode.BAD_STATEMENT,
    "53": ErrorCode.DEPENDENCY_DOWN,
    "57": ErrorCode.DEPENDENCY_DOWN,
    "58": ErrorCode.DEPENDENCY_DOWN,
}
CANCELED = "57014"
_OWN_TRANSACTION = frozenset({"25001", "2D000"})


class StatementFailed(Fail):
    """How a statement's attempt ends that was not done, or of which nobody knows whether it was."""

    codes: tuple[ErrorCode, ...] = tuple(ErrorCode)


def failure_of(error: Exception, is_late: bool) -> StatementFailed:
    """Return what ends the attempt for an error before anything was committed; `is_late`: its time is up."""
    if isinstance(error, StatementFailed):
        return error
    if isinstance(error, InvalidInput):
        return StatementFailed(ErrorCode.BAD_PAYLOAD, error.message)
    if isinstance(error, asyncpg.PostgresError) and not is_lost(error):
        return StatementFailed(_code(error, is_late), _sentence(error))
    if isinstance(error, asyncpg.UnsupportedClientFeatureError | asyncpg.InternalClientError):
        return StatementFailed(ErrorCode.BAD_STATEMENT, f"{error}; have it cast to text")
    if is_lost(error) or isinstance(error, asyncpg.InterfaceError):
        problem = f"the database did not answer, and has done nothing of it: {error or 'no answer in time'}"
        return StatementFailed(ErrorCode.DEPENDENCY_DOWN, problem)
    return StatementFailed(ErrorCode.UNKNOWN, f"{type(error).__name__}: {error}")


def unknown_outcome(error: Exception) -> StatementFailed:
    """Return what ends the attempt whose connection was lost when it may have been committed."""
    problem = f"its connection was lost while it was committed, so it may have been done: {error}"
    return StatementFailed(ErrorCode.UNKNOWN_EXIT, problem)


def is_lost(error: Exception) -> bool:
    """Whether the connection went, as against the server's having said no."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(("08", "57P"))
    return isinstance(error, OSError | TimeoutError)


def wants_no_transaction(error: Exception) -> bool:
    """Whether the statement has to be a transaction of its own, as VACUUM has."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _OWN_TRANSACTION


def _code(error: asyncpg.PostgresError, is_late: bool) -> ErrorCode:
    state = error.sqlstate or ""
    if state == CANCELED:
        return ErrorCode.TIMEOUT if is_late or "timeout" in str(error) else ErrorCode.EXTERNAL
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], ErrorCode.UNKNOWN)


def _sentence(error: asyncpg.PostgresError) -> str:
    position = getattr(error, "position", None)
    where = f", at character {position}" if position else ""
    return f"{getattr(error, 'message', None) or error} (SQLSTATE {error.sqlstate}{where})"


def told(error: asyncpg.PostgresError) -> str:
    """Return all that the server said, as psql shows it."""
    severity = getattr(error, "severity", None) or "ERROR"
    parts = {
        "": getattr(error, "message", None) or str(error),
        "DETAIL:  ": getattr(error, "detail", None),
        "HINT:  ": getattr(error, "hint", None),
        "CONTEXT:  ": getattr(error, "context", None) if severity == "ERROR" else None,
    }
    return f"{severity}:  " + "".join(f"{name}{text}\n" for name, text in parts.items() if text)
