"""Collections of garbage that look at everything hold up everybody: as few of them as memory allows."""

import gc
import sys
import time
from collections.abc import Callable

YOUNG, MIDDLE = 10_000, 10
FULL = 5
"""A full one after about half a million (YOUNG * MIDDLE * FULL) new objects that did not go by themselves."""

CALM_SECONDS = 60.0
MOST_SECONDS = 3600.0
GROWTH = 1.25  # of what is allocated: with less there is little to be had


class Collector:
    """A full collection looks only at what has come since the one before: what it leaves is set aside.

    By the interpreter's own measure a master that is flooded would stand still every second, and the
    longer the more tasks it holds in memory. What is set aside goes by itself when nobody refers to it;
    circles among it go when it is looked at again: once memory has grown by a quarter since the last
    time and there was no full collection for CALM_SECONDS, and after MOST_SECONDS in any case. With ten
    thousand sessions such a look takes more than a second.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        allocated: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        self._now = now
        self._allocated = allocated
        self._least = allocated()  # since everything was looked at
        self._collected_at = self._looked_at = now()
        self._has_set_aside = False

    def begin(self) -> None:
        """Set aside what is there by now, and from now on what every full collection leaves."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, FULL)
        gc.callbacks.append(self._after)

    def end(self) -> None:
        """Set nothing aside any more."""
        gc.callbacks.remove(self._after)
        gc.unfreeze()

    def look_again(self) -> None:
        """Look at everything, if something was set aside, and it is worth while or long ago."""
        now = self._now()
        self._least = min(self._least, self._allocated())
        calm = now - self._collected_at >= CALM_SECONDS
        has_grown = self._allocated() > self._least * GROWTH
        if self._has_set_aside and ((calm and has_grown) or now - self._looked_at >= MOST_SECONDS):
            gc.unfreeze()
            gc.collect()
            self._has_set_aside = False
            self._looked_at, self._least = now, self._allocated()

    def _after(self, phase: str, about: dict[str, int]) -> None:
        if phase == "stop" and about["generation"] == 2:
            gc.freeze()
            self._collected_at = self._now()
            self._has_set_aside = True
