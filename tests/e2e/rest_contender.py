"""One program of many that want the same lock: `python -m tests.e2e.rest_contender URL LEDGER COUNT`.

While it holds the lock, each contender counts itself into a file, and out again.
"""

import asyncio
import sys
from pathlib import Path

from podling.client import AsyncClient
from tests.coordination.contender import note

WAIT_SECONDS = 900.0


async def main(url: str, ledger: Path, count: int) -> None:
    async with AsyncClient(url) as client:

        async def contend() -> None:
            async with client.lock("wanted", 60, wait_seconds=WAIT_SECONDS) as lock:
                note(ledger, f"in {lock.token}")
                await asyncio.sleep(0)  # others have a turn, and may break in if they can
                note(ledger, f"out {lock.token}")

        await asyncio.gather(*(contend() for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
