"""A control loop: run once, wait for a hint or the poll, again; a failure never ends it."""

import logging
import time
from collections.abc import Awaitable, Callable

from podling.core.errors import PodlingError
from podling.kit.wakeup import Wakeup

_log = logging.getLogger(__name__)

RunOnce = Callable[[], Awaitable[float | None]]
Watch = Callable[[str, float, bool], None]
"""Called with a loop's name, the seconds that a pass took, and whether it failed."""


class Loop:
    """Calls `run_once` for ever; it returns how many seconds it may sleep at most, or None.

    Errors of Podling (a store that is away) are logged as one line and tried again after the poll
    interval; anything else is a bug, logged with its traceback, and tried again as well, because
    a master with one broken loop is worth more than none. `watch` is told of every pass.
    """

    def __init__(
        self,
        name: str,
        run_once: RunOnce,
        poll_seconds: float,
        wakeup: Wakeup | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.name = name
        self.wakeup = wakeup or Wakeup()
        self._run_once = run_once
        self._poll_seconds = poll_seconds
        self._watch = watch

    async def run(self) -> None:
        while True:
            await self.wakeup.wait(await self._pause())

    async def _pause(self) -> float:
        try:
            sleep_seconds = await self._watched()
        except PodlingError as error:
            _log.warning("%s: %s", self.name, error.message)
            return self._poll_seconds
        except Exception:  # noqa: BLE001 - see the class
            _log.exception("%s: unexpected error, trying again", self.name)
            return self._poll_seconds
        if sleep_seconds is None:
            return self._poll_seconds
        return min(max(sleep_seconds, 0.0), self._poll_seconds)

    async def _watched(self) -> float | None:
        began, failed = time.perf_counter(), True
        try:
            sleep_seconds = await self._run_once()
            failed = False
            return sleep_seconds
        finally:
            if self._watch is not None:
                self._watch(self.name, time.perf_counter() - began, failed)
