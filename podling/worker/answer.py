"""What a runtime answers, its unforeseen faults told as failures."""

import logging
from collections.abc import Awaitable
from typing import TypeVar

from podling.core.errors import RuntimeFailure

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


async def answer(call: Awaitable[_Answer]) -> _Answer:
    """Return a runtime's answer. Raises RuntimeFailure, also for a fault that it did not foresee."""
    try:
        return await call
    except RuntimeFailure:
        raise
    except Exception as error:
        _log.exception("a runtime failed unexpectedly")
        raise RuntimeFailure(f"The runtime failed unexpectedly: {error}") from error
