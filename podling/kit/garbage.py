"""Collections of garbage that look at everything hold up everybody: as few of them as memory allows."""

import gc
import sys
import time
from collections.abc import Callable

YOUNG, MIDDLE = 2_000, 5
"""A collection after as many new objects, and after as many of those one that sets aside what it leaves.

Each takes a few milliseconds then, for which everybody waits.
"""

NEVER = 1_000_000_000

CALM_SECONDS = 60.0
MOST_SECONDS = 3600.0
GROWTH = 1.25  # of what is allocated: with less there is little to be had
TOO_MUCH = 2.0  # for which nobody waits for calm


class Collector:
    """Every collection looks only at what has come since the one before: what it leaves is set aside.

    By the interpreter's own measure a master that is flooded would stand still every second, and the
    longer the more tasks it holds in memory. What is set aside goes by itself when nobody refers to it;
    circles among it go when it is looked at again: once memory has grown by a quarter since the last
    time and nothing was set aside for CALM_SECONDS, once it has doubled, and after MOST_SECONDS in any
    case. With ten thousand sessions such a look takes more than a second.
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
        """Set aside what is there by now, and from now on what collections leave."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)
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
        growth = self._allocated() / self._least
        is_worth_it = (calm and growth > GROWTH) or growth > TOO_MUCH
        if self._has_set_aside and (is_worth_it or now - self._looked_at >= MOST_SECONDS):
            gc.unfreeze()
            gc.collect()
            self._has_set_aside = False
            self._looked_at, self._least = now, self._allocated()

    def _after(self, phase: str, about: dict[str, int]) -> None:
        if phase == "stop" and about["generation"] > 0:
            gc.freeze()
            self._collected_at = self._now()
            self._has_set_aside = True
