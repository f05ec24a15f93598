"""Tasks from a program's own transaction: they are there once it is committed, and never if it is not.

    from podling import producer

    async with connection.transaction():  # asyncpg
        await connection.execute("INSERT INTO orders …")
        task_id = await producer.submit(connection, {"name": "mail", "image": "registry.example/mail"})

    with psycopg.connect(…) as connection:  # its AsyncConnection is awaited, as asyncpg's is
        connection.execute("INSERT INTO orders …")
        task_id = producer.submit(connection, {"name": "mail", "image": "registry.example/mail"})

The database is Podling's own, with the functions of `podling db install`. A task has the fields of `POST
/tasks`. What it may be is told before anything is sent; what only a master knows, such as the policy, ends
it later as a failed task that says why. Nothing here begins, commits or rolls back.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar, overload

from podling.core.errors import InvalidInput, PodlingError
from podling.core.guardrails import check_size
from podling.core.policy import check_form
from podling.wire.codec import encode
from podling.wire.tasks import brought_by, parse_task

__all__ = ["cancel", "status", "submit", "submit_many"]

Task = Mapping[str, Any]
_T = TypeVar("_T")
_SUBMIT = "SELECT task_id FROM podling_submit_many({}::text::jsonb) AS task_id"
_CANCEL = "SELECT podling_cancel({})::text"
_STATUS = "SELECT podling_status({})::text"


class Asyncpg(Protocol):
    """A connection of asyncpg, or one lent by its pool."""

    async def fetchval(self, query: str, *args: Any) -> Any: ...


class AsyncPsycopg(Protocol):
    """`psycopg.AsyncConnection`."""

    async def execute(self, query: str, params: Any = None) -> Any: ...


class Blocking(Protocol):
    """`psycopg.Connection`, or any of the DB-API whose parameters are `%s`."""

    def cursor(self) -> Any: ...


@overload
def submit(
    connection: Asyncpg | AsyncPsycopg, task: Task, most_bytes: int | None = None
) -> Awaitable[str]: ...
@overload
def submit(connection: Blocking, task: Task, most_bytes: int | None = None) -> str: ...
def submit(connection: Any, task: Task, most_bytes: int | None = None) -> Any:
    """Submit a task with the caller's transaction; return its id.

    `most_bytes` is what `maxPayloadBytes` says of its queue, so that more is refused here. An idempotency
    key that has a task already gives that one's id. Raises InvalidInput, TooLarge; the driver's error of a
    unique violation for a key of another task.
    """
    return _asked(connection, _SUBMIT, _checked([task], most_bytes), lambda found: str(found[0]))


@overload
def submit_many(
    connection: Asyncpg | AsyncPsycopg, tasks: Iterable[Task], most_bytes: int | None = None
) -> Awaitable[list[str]]: ...
@overload
def submit_many(connection: Blocking, tasks: Iterable[Task], most_bytes: int | None = None) -> list[str]: ...
def submit_many(connection: Any, tasks: Iterable[Task], most_bytes: int | None = None) -> Any:
    """Submit tasks by one statement; return their ids, in order. Raises as `submit`, of the first bad one."""
    return _asked(connection, _SUBMIT, _checked(tasks, most_bytes), list)


@overload
def cancel(connection: Asyncpg | AsyncPsycopg, task_id: str) -> Awaitable[None]: ...
@overload
def cancel(connection: Blocking, task_id: str) -> None: ...
def cancel(connection: Any, task_id: str) -> Any:
    """Stop a task with the caller's commit. The driver's error tells of one that is unknown or has ended."""
    return _asked(connection, _CANCEL, task_id, lambda found: None)


@overload
def status(connection: Asyncpg | AsyncPsycopg, task_id: str) -> Awaitable[dict[str, Any] | None]: ...
@overload
def status(connection: Blocking, task_id: str) -> dict[str, Any] | None: ...
def status(connection: Any, task_id: str) -> Any:
    """Return what is known of a task, under the names of the REST API; None if there is none."""
    return _asked(
        connection, _STATUS, task_id, lambda found: None if found[0] is None else json.loads(found[0])
    )


def _checked(tasks: Iterable[Task], most_bytes: int | None) -> str:
    """Return the tasks as one document. Raises InvalidInput that says which of them, TooLarge."""
    items = list(tasks)
    for index, task in enumerate(items):
        try:
            _check(task, most_bytes)
        except PodlingError as error:
            if len(items) > 1:
                error.details["index"] = index
            raise
    return encode(items).decode()


def _check(task: Task, most_bytes: int | None) -> None:
    if not isinstance(task, Mapping):
        raise InvalidInput("a task must be a mapping, with the fields of POST /tasks", code="invalid_json")
    spec = check_form(parse_task(task), allow_simulated=True)
    if most_bytes is not None:
        check_size(spec.queue, *brought_by(spec), most_bytes)


def _asked(connection: Any, sql: str, argument: str, read: Callable[[Sequence[Any]], _T]) -> Any:
    """Return what is read of the first column, or what is to be awaited for it."""
    if hasattr(connection, "fetchval"):
        return _by_asyncpg(connection, sql.format("$1"), argument, read)
    if not hasattr(connection, "cursor"):
        kind = type(connection).__name__
        raise InvalidInput(f"{kind} is no connection of asyncpg or psycopg, nor one of the DB-API")
    cursor = connection.cursor()
    if hasattr(cursor, "row_factory"):  # psycopg's: whatever the caller's rows are, here they are tuples
        cursor.row_factory = lambda _: tuple
    ask = _by_coroutines if iscoroutinefunction(cursor.execute) else _by_calls
    return ask(cursor, sql.format("%s"), argument, read)


async def _by_asyncpg(connection: Any, sql: str, argument: str, read: Callable[[Sequence[Any]], _T]) -> _T:
    return read([row[0] for row in await connection.fetch(sql, argument)])


async def _by_coroutines(cursor: Any, sql: str, argument: str, read: Callable[[Sequence[Any]], _T]) -> _T:
    async with cursor:
        await cursor.execute(sql, (argument,))
        return read([_first(row) for row in await cursor.fetchall()])


def _by_calls(cursor: Any, sql: str, argument: str, read: Callable[[Sequence[Any]], _T]) -> _T:
    try:
        cursor.execute(sql, (argument,))
        return read([_first(row) for row in cursor.fetchall()])
    finally:
        cursor.close()


def _first(row: Any) -> Any:
    """Return the first column, whatever the connection makes of a row."""
    return next(iter(row.values())) if isinstance(row, Mapping) else row[0]
