"""When to renew a lease, and when it is over for its holder.

Who holds something until a moment must not believe in it any longer, whatever the other side says later:
the lease is counted by a clock of this machine, from when it was last asked for.
"""

from podling.kit.clock import SystemClock

_RENEWED_AFTER = 1 / 3
_AGAIN_AFTER = 1 / 10
_LONGEST_PAUSE_SECONDS = 5.0

monotonic = SystemClock().monotonic
"""The clock that leases are counted by."""


class Lease:
    """`since` is when it was first asked for."""

    def __init__(self, seconds: float, since: float) -> None:
        self._seconds = seconds
        self._until = since + seconds
        self._ask_at = since + seconds * _RENEWED_AFTER

    @property
    def left(self) -> float:
        """For how many seconds it is certain."""
        return self._until - monotonic()

    @property
    def pause(self) -> float:
        """After how many seconds to ask for it again, or that it is over."""
        return max(0.0, min(self._ask_at - monotonic(), self.left))

    def renewed(self, asked_at: float) -> None:
        """Note an answer to what was asked then."""
        self._until = asked_at + self._seconds
        self._ask_at = asked_at + self._seconds * _RENEWED_AFTER

    def unanswered(self) -> None:
        """Note that no answer came."""
        self._ask_at = monotonic() + min(self._seconds * _AGAIN_AFTER, _LONGEST_PAUSE_SECONDS)
