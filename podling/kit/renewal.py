"""Keeps what has a lease, in the background, and tells when it is lost: for asyncio, and with a thread.

Who holds something until a moment must not believe in it any longer, whatever the other side says later:
the lease is counted by a clock of this machine, from when it was last asked for.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable

from podling.core.errors import PodlingError
from podling.kit.clock import SystemClock

_RENEWED_AFTER = 1 / 3
_AGAIN_AFTER = 1 / 10
_LONGEST_PAUSE_SECONDS = 5.0

monotonic = SystemClock().monotonic
"""The clock that leases are counted by."""


class _Lease:
    """When to ask again, and when it is too late."""

    def __init__(self, seconds: float, since: float) -> None:
        self._seconds = seconds
        self._until = since + seconds
        self._ask_at = since + seconds * _RENEWED_AFTER

    @property
    def left(self) -> float:
        return self._until - monotonic()

    @property
    def pause(self) -> float:
        return max(0.0, min(self._ask_at - monotonic(), self.left))

    def renewed(self, asked_at: float) -> None:
        self._until = asked_at + self._seconds
        self._ask_at = asked_at + self._seconds * _RENEWED_AFTER

    def unanswered(self) -> None:
        self._ask_at = monotonic() + min(self._seconds * _AGAIN_AFTER, _LONGEST_PAUSE_SECONDS)


class AsyncRenewal:
    """`renew` says whether it is still held; `since` is when it was first asked for.

    An answer that does not come, or that the other side is away, is asked for again until the lease ends.
    """

    def __init__(self, renew: Callable[[], Awaitable[bool]], seconds: float, since: float) -> None:
        self.lost = asyncio.Event()
        self._renew = renew
        self._lease = _Lease(seconds, since)
        self._task = asyncio.create_task(self._run(), name="renewal")

    async def stop(self) -> None:
        """Renew no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._lease.left > 0:
            await asyncio.sleep(self._lease.pause)
            if self._lease.left > 0 and not await self._ask():
                break
        self.lost.set()

    async def _ask(self) -> bool:
        asked_at = monotonic()
        try:
            async with asyncio.timeout(self._lease.left):
                held = await self._renew()
        except (PodlingError, TimeoutError):
            self._lease.unanswered()
            return True
        self._lease.renewed(asked_at)
        return held


class Renewal:
    """As `AsyncRenewal`, on a thread; a `renew` that hangs is not cut off, but `lost` is set in time."""

    def __init__(self, renew: Callable[[], bool], seconds: float, since: float) -> None:
        self.lost = threading.Event()
        self._renew = renew
        self._lease = _Lease(seconds, since)
        self._stopped = threading.Event()
        self._held = True
        self._asking: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while self._held and self._lease.left > 0:
            if self._stopped.wait(self._lease.pause):
                return
            if self._lease.left > 0:
                self._ask_meanwhile()
        self.lost.set()

    def _ask_meanwhile(self) -> None:
        """Ask on another thread: this one has to be in time."""
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, name="renewing", daemon=True)
            self._asking.start()
        self._asking.join(max(0.0, self._lease.left))

    def _ask(self) -> None:
        asked_at = monotonic()
        try:
            self._held = self._renew()
        except PodlingError:
            self._lease.unanswered()
        else:
            self._lease.renewed(asked_at)
