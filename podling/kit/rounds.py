"""So much in one round of the event loop, and no more: then it comes round soon for everybody else."""

import asyncio
from collections import deque


class Rounds:
    """Who enters goes on at once, or in turn in a later round if `most` have entered in this one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entered = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        if self._entered < self._most and not self._waiting:
            self._count()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _count(self) -> None:
        if self._entered == 0:
            asyncio.get_running_loop().call_soon(self._next)
        self._entered += 1

    def _next(self) -> None:
        self._entered = 0
        while self._waiting and self._entered < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled has no use for it
                self._count()
                turn.set_result(None)
