"""SQL tasks: what they may be."""

import re

from podling.core.errors import InvalidInput
from podling.core.fields import check_pattern, check_storable
from podling.core.functions import check_without_container
from podling.core.spec import Runtime, TaskSpec

DEFAULT_DATABASE = "default"
"""The database of a statement that names none: the worker's DATABASE_URL."""

MOST_BYTES = 262_144
"""Of a statement, and of its parameters together."""

MOST_PARAMETERS = 1000

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_IGNORED = re.compile(r"[\s;]+|--[^\n]*|/\*")
_COMMENT_MARK = re.compile(r"/\*|\*/")
_WORD = re.compile(r"[A-Za-z]+", re.ASCII)
_CLIENT_COPY = re.compile(r"\b(?:stdin|stdout)\b", re.IGNORECASE)
_TRANSACTIONS = frozenset("BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE".split())
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON, where a backslash before it may be one itself


def database_of(spec: TaskSpec) -> str:
    """Return the name of the database that the statement runs in."""
    return spec.database or DEFAULT_DATABASE


def check_database_name(field: str, name: str) -> None:
    """Refuse what cannot be a worker's name for a database. Raises InvalidInput."""
    problem = "must be 1 to 63 letters, digits, '_', '.' and '-', a letter or digit at both ends"
    check_pattern(field, name, _NAME, problem)


def check_statement(spec: TaskSpec) -> None:
    """Refuse a statement's fields on any other task, and any other's on a statement. Raises InvalidInput."""
    if spec.runtime is not Runtime.SQL:
        for field in ("statement", "parameters", "database"):
            if getattr(spec, field) is not None:
                raise InvalidInput.field(field, f"has a meaning for runtime sql only, not {spec.runtime}")
        return
    if spec.statement is None:
        raise InvalidInput.field("statement", "is required for sql")
    check_storable("statement", spec.statement, MOST_BYTES)
    _check_bytes("statement", spec.statement)
    _check_beginning(spec.statement)
    if spec.parameters is not None:
        _check_parameters(spec.parameters)
    if spec.database is not None:
        check_database_name("database", spec.database)
    check_without_container(spec, "a statement")


def _check_beginning(statement: str) -> None:
    """Refuse what could only hang, or say nothing of how it ended, whoever runs it."""
    if _beginning(statement) == len(statement):
        raise InvalidInput.field("statement", "must not be empty")
    word = first_word(statement)
    if word == "COPY" and _CLIENT_COPY.search(statement):
        problem = "cannot copy from STDIN or to STDOUT: a task has neither; select the rows, or insert them"
        raise InvalidInput.field("statement", problem)
    if word in _TRANSACTIONS:
        problem = f"cannot be {word}: each statement is a transaction of its own, committed when it is done"
        raise InvalidInput.field("statement", problem)


def first_word(statement: str) -> str:
    """Return the word that a statement begins with in capitals, whatever comments are before it."""
    word = _WORD.match(statement, _beginning(statement))
    return word[0].upper() if word else ""


def _beginning(statement: str) -> int:
    place = 0
    while found := _IGNORED.match(statement, place):
        place = found.end() if found[0] != "/*" else _comment_end(statement, found.end())
    return place


def _comment_end(statement: str, place: int) -> int:
    """Return where a comment ends that begins before `place`; others may be inside it."""
    depth = 1
    for found in _COMMENT_MARK.finditer(statement, place):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(statement)


def _check_parameters(text: str) -> None:
    if _NUL.search(text):
        raise InvalidInput.field("parameters", "must not contain a NUL character, which PostgreSQL has not")
    _check_bytes("parameters", text)


def _check_bytes(field: str, text: str) -> None:
    size = len(text.encode())
    if size > MOST_BYTES:
        raise InvalidInput.field(field, f"must have at most {MOST_BYTES} bytes, not {size}")
