"""Functions as tasks: register them here, and load their module with `podling-worker --handlers`.

    from podling.handlers import Context, Fail, Retry, handler

    @handler("email.send", concurrency=10, timeout_seconds=30)
    async def send(payload, context: Context):
        if "to" not in payload:
            raise Fail("BAD_PAYLOAD", "there is no address")

A function may be `async`, and then shares an event loop with others and must not block it; any other
runs in a thread. It may run more than once: a worker can end in the middle, and another one begins
anew. What it prints and logs is its task's log.
"""

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from podling.core.fields import check_seconds
from podling.core.functions import check_handler_name
from podling.core.retry import ErrorCode

__all__ = ["Context", "Fail", "Handler", "Retry", "handler", "registered"]

RETRIED = (
    ErrorCode.DEPENDENCY_DOWN,
    ErrorCode.RATE_LIMIT,
    ErrorCode.DB_DEADLOCK,
    ErrorCode.SERIALIZATION,
    ErrorCode.TIMEOUT,
    ErrorCode.UNKNOWN,
)
NOT_RETRIED = (ErrorCode.BAD_PAYLOAD, ErrorCode.UNKNOWN_JOB_TYPE)

Function = Callable[[Any, "Context"], Any]
_F = TypeVar("_F", bound=Function)


class _Failure(Exception):
    codes: tuple[ErrorCode, ...] = ()

    def __init__(self, code: str, message: str = "") -> None:
        if code not in self.codes:
            known = ", ".join(self.codes)
            raise ValueError(f"{type(self).__name__}({code!r}): the code must be one of {known}")
        super().__init__(message or code)
        self.code = ErrorCode(code)


class Retry(_Failure):
    """Raise it to fail this attempt; others follow, as the task's `maxAttempts` and `retry` say."""

    codes = RETRIED


class Fail(_Failure):
    """Raise it to fail the task at once: another attempt would end no better."""

    codes: tuple[ErrorCode, ...] = NOT_RETRIED


@dataclass(frozen=True)
class Context:
    """What a function may know of the attempt that it runs in.

    `deadline` is when it is told to stop, if it has a timeout: an async function is cancelled then;
    another one should look at `is_cancelled` now and then, or its process is ended after the task's
    `stopGraceSeconds`, and whatever else runs in it.
    """

    task_id: str
    attempt: int
    handler: str
    deadline: datetime | None = None
    _speak: Callable[[str, int], Mapping[str, str]] = field(default=lambda task_id, attempt: {}, repr=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what other programs find in their environment: `podling.task.current(context.environment)`
        says progress, saves checkpoints, and the rest of it. (What it asks blocks, so from an async function
        it is called by `asyncio.to_thread`.)"""
        return self._speak(self.task_id, self.attempt)


@dataclass(frozen=True)
class Handler:
    """A registered function. `concurrency` None: as many as its worker has slots."""

    name: str
    function: Function
    concurrency: int | None = None
    timeout_seconds: float | None = None

    @property
    def is_async(self) -> bool:
        return any(map(inspect.iscoroutinefunction, _callables(self.function)))


_registered: dict[str, Handler] = {}


def handler(
    name: str, *, concurrency: int | None = None, timeout_seconds: float | None = None
) -> Callable[[_F], _F]:
    """Register the decorated function for the job type `name`; it stays callable as before.

    `concurrency` bounds how many of it run at a time in one worker, `timeout_seconds` each of them.
    Raises InvalidInput for a name that no job type can have, or a time that nobody waits; ValueError,
    TypeError.
    """
    check_handler_name("handler", name)
    check_seconds(f"handler {name}: timeout_seconds", timeout_seconds)
    if concurrency is not None and (not isinstance(concurrency, int) or concurrency < 1):
        raise ValueError(f"handler {name}: concurrency must be a whole number from 1, not {concurrency}")

    def register(function: _F) -> _F:
        _refuse_unless_callable(name, function)
        known = _registered.get(name)
        if known is not None and _place(known.function) != _place(function):
            raise ValueError(f"handler {name} is registered twice: {_place(known.function)} has it")
        _registered[name] = Handler(name, function, concurrency, timeout_seconds)
        return function

    return register


def registered() -> Mapping[str, Handler]:
    """Return all handlers of this process by name."""
    return dict(_registered)


def _refuse_unless_callable(name: str, function: Function) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise TypeError(
            f"handler {name}: {_place(function)} must take two arguments, payload and context"
        ) from None
    if any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in _callables(function)
    ):
        raise TypeError(f"handler {name}: {_place(function)} has a yield, so that calling it runs nothing")


def _callables(function: Function) -> tuple[Any, Any]:
    """Return what may say of itself how it runs: the function, and the `__call__` of an object."""
    return function, getattr(function, "__call__", None)  # noqa: B004 - not whether, but which


def _place(function: Function) -> str:
    module = getattr(function, "__module__", "?")
    return f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"
