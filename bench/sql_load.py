"""A load by SQL: some connections, each leaves a batch of tasks in the inbox by one statement, and again.

`python -m bench.sql_load DSN --connections C --batch B` submits simulated tasks by the producer library and
prints a JSON line four times a second: tasks committed, and the waits for each commit.
"""

import argparse
import asyncio
import time

import asyncpg
import uvloop

from bench.load import SPEC
from bench.orders import TELL_SECONDS, Waits, cancel_all, orders, tell
from podling import producer


class SqlLoad:
    """Connections that share one count."""

    def __init__(self, batch: int) -> None:
        self._batch = [SPEC] * batch
        self._accepted = 0
        self._waits = Waits()

    async def run(self, dsn: str) -> None:
        """Submit over one connection for ever."""
        connection = await asyncpg.connect(dsn)
        while True:
            begin = time.perf_counter()
            self._accepted += len(await producer.submit_many(connection, self._batch))
            self._waits.add(time.perf_counter() - begin)

    def tell(self) -> None:
        tell(accepted=self._accepted, waits={"answer": self._waits.take()})


async def run(load: SqlLoad, dsn: str, connections: int) -> None:
    """Submit until the bench has ended."""

    async def report() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            load.tell()

    async with asyncio.TaskGroup() as group:
        works = [group.create_task(load.run(dsn)) for _ in range(connections)]
        works.append(group.create_task(report()))
        async for _ in orders():
            pass  # it has no limit to be told
        cancel_all(works)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sql_load", description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--batch", type=int, default=500)
    given = parser.parse_args()
    uvloop.run(run(SqlLoad(given.batch), given.dsn, given.connections))


if __name__ == "__main__":
    main()
