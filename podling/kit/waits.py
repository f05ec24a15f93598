"""Who waits for something, so that all of them can be sent away at once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from podling.core.errors import PodlingError


class Waits:
    """`error` is what those are told that are sent away."""

    def __init__(self, error: type[PodlingError], sentence: str) -> None:
        self._error = error
        self._sentence = sentence
        self._waiting: set[asyncio.Task[Any]] = set()
        self._sent_away: set[asyncio.Task[Any]] = set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the running task among those that wait. Raises the error if it is sent away."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._sent_away or task.uncancel() > 0:
                raise  # somebody else does not want it any more
            raise self._error(self._sentence) from None
        finally:
            self._waiting.discard(task)
            self._sent_away.discard(task)

    def send_away(self) -> None:
        self._sent_away |= self._waiting
        for task in self._waiting:
            task.cancel()
