"""What a fencing token is for: a holder that was stopped for too long writes over another one's work.

Run it: it prints what became of the stock without the token, and with it.
"""

import asyncio

from podling.coordination import Coordination, in_memory

TTL = 0.05
STOPPED = 0.1  # longer than the lock lives: a long pause, a lost network, a laptop that was closed


class Stock:
    """A number in a store that knows nothing of locks."""

    def __init__(self) -> None:
        self.pieces = 100

    def write(self, pieces: int, token: int) -> None:
        self.pieces = pieces


class FencedStock(Stock):
    """The same, but it remembers the greatest token it has seen, and refuses a smaller one."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = 0

    def write(self, pieces: int, token: int) -> None:
        if token < self.newest:
            raise PermissionError(f"token {token} is older than {self.newest}")
        self.newest = token
        super().write(pieces, token)


async def sell(stock: Stock, coordination: Coordination) -> None:
    """Two shops sell one piece each: whoever holds the lock reads, takes one off, and writes."""
    slow = await coordination.locks.acquire("stock", TTL)
    assert slow is not None
    seen_by_slow = stock.pieces
    await asyncio.sleep(STOPPED)  # here it is stopped, and its lock runs out

    quick = await coordination.locks.acquire("stock", TTL)
    assert quick is not None
    stock.write(stock.pieces - 1, quick.token)

    try:
        stock.write(seen_by_slow - 1, slow.token)  # it wakes up, and believes that it holds the lock
    except PermissionError as refused:
        print(f"refused: {refused}")
        again = await coordination.locks.acquire("stock", TTL, wait_seconds=1)
        assert again is not None
        stock.write(stock.pieces - 1, again.token)


async def main() -> None:
    for stock in (Stock(), FencedStock()):
        await sell(stock, in_memory())
        print(f"{type(stock).__name__}: two were sold, and {stock.pieces} are left")


if __name__ == "__main__":
    asyncio.run(main())
