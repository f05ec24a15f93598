"""One program of many that want the same lock: `python -m tests.coordination.contender DSN LEDGER COUNT`.

While it holds the lock, each contender counts itself into a file beside the database, and out again.
"""

import asyncio
import fcntl
import sys
from pathlib import Path

import asyncpg

from podling.coordination import over_pool

WAIT_SECONDS = 600.0
CONNECTIONS = 4


async def main(dsn: str, ledger: Path, count: int) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=0, max_size=CONNECTIONS)
    try:
        async with over_pool(pool, timeout_seconds=300) as coordination:

            async def contend() -> None:
                lock = await coordination.locks.acquire("wanted", 60, wait_seconds=WAIT_SECONDS)
                assert lock is not None, "not served in time"
                note(ledger, f"in {lock.token}")
                await asyncio.sleep(0)  # others have a turn, and may break in if they can
                note(ledger, f"out {lock.token}")
                assert await lock.release()

            await asyncio.gather(*(contend() for _ in range(count)))
    finally:
        await pool.close()


def note(ledger: Path, line: str) -> None:
    with ledger.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{line}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
