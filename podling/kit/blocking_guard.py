# Written by bin/generate-client from asynchronous_guard.py: change that file instead.
"""What a circuit breaker has to say before and after a block, wherever the breaker is kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from podling.core.errors import BreakerIsOpen

_Permit = TypeVar("_Permit")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class BreakerGuard(ABC, Generic[_Permit]):
    """As a context manager, or a decorator, it lets nothing run while its breaker says no.

    The errors in `counts` are failures; others, such as a cancelled task, say nothing.
    """

    def __init__(self, key: str, counts: tuple[type[BaseException], ...]) -> None:
        self.key = key
        self._counts = counts

    @abstractmethod
    def allow(self) -> _Permit:
        """Ask whether to go ahead; who may while it is half open has to tell what came of it."""

    @abstractmethod
    def record_success(self) -> object: ...

    @abstractmethod
    def record_failure(self) -> object: ...

    @abstractmethod
    def _refusal(self, permit: _Permit) -> BreakerIsOpen | None:
        """Return what is raised instead of going ahead; None if the permit is one."""

    def __enter__(self) -> _Permit:
        """Raise BreakerIsOpen if it lets nobody through."""
        permit = self.allow()
        if (refusal := self._refusal(permit)) is not None:
            raise refusal
        return permit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.record_success()
        elif isinstance(error, self._counts):
            self.record_failure()

    def __call__(self, function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @wraps(function)
        def guarded(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            with self:
                return function(*arguments, **named)

        return guarded


def breaker_is_open(key: str, state: str, failures: int, wait: float | None) -> BreakerIsOpen:
    """Return the error of somebody who is not let through, and need not ask again for so long."""
    seconds = wait or 0.0
    return BreakerIsOpen(
        f"the breaker {key} is {state} after {failures} failures: try again in {seconds:.3g} s",
        details={"key": key, "state": state, "retryAfterSeconds": seconds},
    )
