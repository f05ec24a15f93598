"""Another queue's worker or submitter, with a job that does nothing.

`python -m bench.peer LIBRARY work|submit|install DSN`, in the virtual environment that `bench.peers` has
made; neither Podling nor its libraries are there. It tells how many jobs have ended or were accepted;
`limit N` on its standard input is the number of jobs it may have submitted in all by then.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

import uvloop

from bench.orders import TELL_SECONDS, cancel_all, orders, tell

SUBMIT_BATCH = 100
# pgqueuer: large batches of its fastest driver, a pool. procrastinate: many jobs at once, and
# finished ones deleted, so that its table stays small.
PGQUEUER_BATCH = 100
PROCRASTINATE_CONCURRENCY = 50
CONNECTIONS = 10


class Count:
    """What this process has done, and may do."""

    def __init__(self) -> None:
        self.ended = 0
        self.accepted = 0
        self.limit = 0
        self.more = asyncio.Event()

    async def submit_with(self, send: Callable[[int], Awaitable[object]]) -> None:
        """Submit batches for ever, within the limit."""
        while True:
            while self.accepted + SUBMIT_BATCH > self.limit:
                self.more.clear()
                await self.more.wait()
            await send(SUBMIT_BATCH)
            self.accepted += SUBMIT_BATCH


async def pgqueuer(role: str, dsn: str, count: Count) -> None:
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.queries import Queries

    async with asyncpg.create_pool(dsn, min_size=2, max_size=CONNECTIONS) as pool:
        queue = PgQueuer.from_asyncpg_pool(pool)

        @queue.entrypoint("bench")  # type: ignore[untyped-decorator]
        async def bench(job: object) -> None:
            count.ended += 1

        queries = Queries(queue.connection)
        if role == "install":
            await queries.install()
        elif role == "work":
            await queue.run(batch_size=PGQUEUER_BATCH)
        else:
            await count.submit_with(lambda n: queries.enqueue(["bench"] * n, [None] * n, [0] * n))


async def procrastinate(role: str, dsn: str, count: Count) -> None:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=2, max_size=CONNECTIONS))

    @app.task(name="bench")  # type: ignore[untyped-decorator]
    async def bench() -> None:
        count.ended += 1

    async with app.open_async():
        if role == "install":
            await app.schema_manager.apply_schema_async()
        elif role == "work":
            await app.run_worker_async(
                concurrency=PROCRASTINATE_CONCURRENCY,
                delete_jobs="successful",
                install_signal_handlers=False,
            )
        else:
            await count.submit_with(lambda n: bench.batch_defer_async(*[{}] * n))


async def run(library: str, role: str, dsn: str) -> None:
    """Work or submit until the bench has ended; an install ends by itself."""
    libraries = {"pgqueuer": pgqueuer, "procrastinate": procrastinate}
    count = Count()
    if role == "install":
        await libraries[library](role, dsn, count)
        return

    async def report() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            tell(ended=count.ended, accepted=count.accepted, waits={})

    async with asyncio.TaskGroup() as group:
        works = [group.create_task(libraries[library](role, dsn, count)), group.create_task(report())]
        async for _, limit in orders():
            count.limit = int(limit)
            count.more.set()
        cancel_all(works)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.peer", description=__doc__)
    parser.add_argument("library", choices=("pgqueuer", "procrastinate"))
    parser.add_argument("role", choices=("work", "submit", "install"))
    parser.add_argument("dsn")
    given = parser.parse_args()
    uvloop.run(run(given.library, given.role, given.dsn))


if __name__ == "__main__":
    main()
