"""PostgreSQL killed, stopped, hanging; single sessions of it ended."""

import asyncio
import signal
import time

from podling.client import tasks
from podling.core.errors import PodlingError
from tests.soak.cluster import until
from tests.soak.ground import Ground
from tests.soak.mix import draw, spec_of


class DatabaseFaults(Ground):
    """See the module."""

    async def _database_ended(self, order: int, away_seconds: float) -> None:
        await self.cluster.database.end(order)
        await asyncio.sleep(away_seconds)
        await self.cluster.database.start()
        begin = time.monotonic()
        await asyncio.gather(self._commits_again(begin), self._listens_again(begin))
        await self.cluster.whole()

    async def postgres_killed(self) -> None:
        await self._database_ended(signal.SIGKILL, 0)

    async def postgres_stopped_at_once(self) -> None:
        await self._database_ended(signal.SIGQUIT, self.dice.uniform(0, 1))

    async def postgres_stopped_fast(self) -> None:
        await self._database_ended(signal.SIGINT, self.dice.uniform(0, 2))

    async def _commits_again(self, begin: float) -> None:
        """Submit a task to all masters until one accepts it."""
        self.times.probes += 1
        number = self.times.probes
        work = draw(-1, number, ("simulated",))
        spec = spec_of(work, "", "", ("SOAK_PROBE", "1")) | {"name": f"probe-{number}"}
        key = f"probe-{self.cluster.run}-{number}"
        call = tasks.submit(spec, key).patient(0)

        async def accepted() -> bool:
            for master in self.cluster.masters.values():
                try:
                    await master.client.send(call)
                    return True
                except PodlingError:
                    continue
            return False

        await until("a task is accepted again", accepted)
        self.times.add("first commit after PostgreSQL's return", time.monotonic() - begin)

    async def _listens_again(self, begin: float) -> None:
        async def all_listen() -> bool:
            return len(await self._listeners()) >= len(self.cluster.masters)

        await until("all masters listen again", all_listen)
        self.times.add("LISTEN back", time.monotonic() - begin)

    async def _listeners(self) -> list[int]:
        """Return the server processes of sessions that wait for hints."""
        rows = await self.cluster.database.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'podling'"
            " AND (query ILIKE 'LISTEN%' OR query = 'SELECT 1')"
        )
        return [row[0] for row in rows]

    async def one_backend_ended(self) -> None:
        await self.cluster.database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'podling' ORDER BY random() LIMIT 1"
        )
        begin = time.monotonic()
        await self._commits_again(begin)
        await self.cluster.whole()

    async def listener_ended(self) -> None:
        before = set(await self._listeners())
        if not before:
            return
        pid = self.dice.choice(sorted(before))
        await self.cluster.database.fetch("SELECT pg_terminate_backend($1)", pid)
        await self._listens_again(time.monotonic())

    async def postgres_hangs(self) -> None:
        pids = self.cluster.database.pause()
        try:
            await asyncio.sleep(self.dice.uniform(1, self.lease))
        finally:
            self.cluster.database.resume(pids)
        begin = time.monotonic()
        await self._commits_again(begin)
        await self.cluster.whole()
