"""Starts that are told only where the end does not come at once: a short attempt is then its end alone."""

import asyncio
from collections import deque
from collections.abc import Callable

from podling.core.agent_events import Event, Started
from podling.core.protocol import AttemptKey

LATE_SECONDS = 0.1


class LateStarts:
    """For functions, which are begun by the thousand, and of which most end before anybody could look."""

    def __init__(self, answer: Callable[[Event], None], has_ended: Callable[[AttemptKey], bool]) -> None:
        self._answer = answer
        self._has_ended = has_ended
        self._waiting: deque[tuple[float, Started]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, started: Started) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + LATE_SECONDS, started))
        if self._timer is None:
            self._timer = loop.call_later(LATE_SECONDS, self._tell)

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, started = self._waiting.popleft()
            if not self._has_ended(started.key):
                self._answer(started)
        self._timer = loop.call_at(self._waiting[0][0], self._tell) if self._waiting else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
