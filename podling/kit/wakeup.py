"""A hint that there may be work, with a poll behind it."""

import asyncio


class Wakeup:
    """`wait` returns after the next `set`, or after the poll interval: the hint may be lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, poll_seconds: float) -> bool:
        """Return True if woken, False if the interval passed. Hints given meanwhile are joined."""
        try:
            async with asyncio.timeout(poll_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
