"""What a circuit breaker has to say before and after a block, wherever the breaker is kept."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from podling.core.errors import BreakerIsOpen

_Permit = TypeVar("_Permit")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class AsyncBreakerGuard(ABC, Generic[_Permit]):
    """As a context manager, or a decorator, it lets nothing run while its breaker says no.

    The errors in `counts` are failures; others, such as a cancelled task, say nothing.
    """

    def __init__(self, key: str, counts: tuple[type[BaseException], ...]) -> None:
        self.key = key
        self._counts = counts

    @abstractmethod
    async def allow(self) -> _Permit:
        """Ask whether to go ahead; who may while it is half open has to tell what came of it."""

    @abstractmethod
    async def record_success(self) -> object: ...

    @abstractmethod
    async def record_failure(self) -> object: ...

    @abstractmethod
    def _refusal(self, permit: _Permit) -> BreakerIsOpen | None:
        """Return what is raised instead of going ahead; None if the permit is one."""

    async def __aenter__(self) -> _Permit:
        """Raise BreakerIsOpen if it lets nobody through."""
        permit = await self.allow()
        if (refusal := self._refusal(permit)) is not None:
            raise refusal
        return permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.record_success()
        elif isinstance(error, self._counts):
            await self.record_failure()

    def __call__(
        self, function: Callable[_Arguments, Awaitable[_Result]]
    ) -> Callable[_Arguments, Awaitable[_Result]]:
        @wraps(function)
        async def guarded(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            async with self:
                return await function(*arguments, **named)

        return guarded


def breaker_is_open(key: str, state: str, failures: int, wait: float | None) -> BreakerIsOpen:
    """Return the error of somebody who is not let through, and need not ask again for so long."""
    seconds = wait or 0.0
    return BreakerIsOpen(
        f"the breaker {key} is {state} after {failures} failures: try again in {seconds:.3g} s",
        details={"key": key, "state": state, "retryAfterSeconds": seconds},
    )
