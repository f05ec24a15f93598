"""How many requests may be in hand, so that the event loop comes round soon enough for beats."""

import time
from collections.abc import Callable

SLOW_SECONDS = 0.1
"""Of a round: from the socket to its answer a beat takes about six of them."""

LEAST_IN_HAND = 32
DOUBLING_SECONDS = 1.0


class Pace:
    """Halves what may be in hand when rounds are slow; afterwards it doubles second by second.

    One slow round alone says nothing: the machine may have looked away.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._room = float(most)
        self._slow_at = now()
        self._began = 0.0
        self._before = 0.0

    @property
    def room(self) -> int:
        """How many requests may be in hand now."""
        doublings = min((self._now() - self._slow_at) / DOUBLING_SECONDS, 32.0)
        return int(min(self._most, self._room * 2**doublings))

    def begin(self) -> None:
        """A round begins."""
        self._began = self._now()

    def end(self, in_hand: int) -> None:
        """It is over, and so many are in hand."""
        took = self._now() - self._began
        is_slow = min(took, self._before) > SLOW_SECONDS
        self._before = took
        if is_slow:
            self._room = max(LEAST_IN_HAND, min(self.room, in_hand) / 2)
            self._slow_at = self._now()
            self._before = 0.0  # what is in hand already is no reason to take still less
