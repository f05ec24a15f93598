"""Keeps what has a lease, in the background, and tells when it is lost: for asyncio."""

import asyncio
from collections.abc import Awaitable, Callable

from podling.core.errors import PodlingError
from podling.kit.lease import Lease, monotonic

AsyncSignal = asyncio.Event


class AsyncRenewal:
    """`renew` says whether it is still held; `since` is when it was first asked for.

    An answer that does not come, or that the other side is away, is asked for again until the lease ends.
    """

    def __init__(self, renew: Callable[[], Awaitable[bool]], seconds: float, since: float) -> None:
        self.lost = AsyncSignal()
        self._renew = renew
        self._lease = Lease(seconds, since)
        self._task = asyncio.create_task(self._run(), name="renewal")

    async def stop(self) -> None:
        """Renew no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._lease.left > 0:
                await asyncio.sleep(self._lease.pause)
                if self._lease.left > 0 and not await self._ask():
                    break
        except asyncio.CancelledError:
            raise  # it was stopped, which is no loss
        except BaseException:
            self.lost.set()
            raise
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
