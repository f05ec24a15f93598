"""The agent's timers, each under its name: setting it again replaces the older one."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from podling.core.agent_events import Timer
from podling.core.agent_instructions import SetTimer
from podling.core.protocol import AttemptKey
from podling.kit.clock import Clock


class Timers:
    """`fire` is called with a timer whose moment has come by `clock`."""

    def __init__(self, clock: Clock, fire: Callable[[Timer], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._set: defaultdict[AttemptKey | None, dict[Timer, asyncio.TimerHandle]] = defaultdict(dict)

    def set(self, instruction: SetTimer) -> None:
        timer = instruction.timer
        if (before := self._set[timer.key].pop(timer, None)) is not None:
            before.cancel()
        delay = max(0.0, instruction.at - self._clock.monotonic())
        handle = asyncio.get_running_loop().call_later(delay, self._come, instruction)
        self._set[timer.key][timer] = handle

    def _come(self, instruction: SetTimer) -> None:
        """The loop's clock is another than the agent's, and calls some milliseconds early."""
        if self._clock.monotonic() < instruction.at:
            self.set(instruction)
            return
        self._set[instruction.timer.key].pop(instruction.timer, None)
        self._fire(instruction.timer)

    def forget(self, key: AttemptKey) -> None:
        """Cancel the timers of an attempt."""
        for handle in self._set.pop(key, {}).values():
            handle.cancel()

    def close(self) -> None:
        for key in list(self._set):
            for handle in self._set.pop(key).values():
                handle.cancel()
