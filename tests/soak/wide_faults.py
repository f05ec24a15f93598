"""Docker engines, lines between workers and masters, and everything at once."""

import asyncio
import signal
import time
from contextlib import suppress
from subprocess import CalledProcessError

from tests.docker_engine import docker
from tests.soak.cluster import until
from tests.soak.ground import PAST_THE_LEASE, Ground
from tests.soak.spoiled_relay import Spoiling


class WideFaults(Ground):
    """See the module."""

    def _engine(self) -> str:
        return self.dice.choice(list(self.cluster.engines))

    async def engine_killed(self) -> None:
        await self._restart_engine(self._engine())
        await self.cluster.whole()

    async def _restart_engine(self, name: str) -> None:
        engine = self.cluster.engines[name]
        self.times.engine_kills.append(time.time())
        await asyncio.to_thread(engine.kill)
        await asyncio.sleep(self.dice.uniform(0, 2))
        with self.times.measured("dockerd answers again"):
            await self.cluster.start_engine(name)
        with self.times.measured("first container after dockerd's return"):
            await self._until_one_starts(name)

    async def _until_one_starts(self, name: str) -> None:
        [[since]] = await self.cluster.database.fetch("SELECT clock_timestamp()")

        async def one_has_started() -> bool:
            sql = "SELECT 1 FROM live_tasks WHERE node_id = $1 AND started_at > $2 LIMIT 1"
            return bool(await self.cluster.database.fetch(sql, name, since))

        await until(f"{name} starts a container", one_has_started)

    async def container_removed_by_hand(self) -> None:
        host = self.cluster.engines[self._engine()].host

        async def removed() -> bool:
            with suppress(CalledProcessError):  # it has just gone by itself
                found = (await asyncio.to_thread(docker, "ps", "-q", host=host)).split()
                if found:
                    await asyncio.to_thread(docker, "rm", "-f", self.dice.choice(found), host=host)
                    return True
            return False

        await until("a container runs that can be removed", removed)

    # Everything, and the lines between

    async def everything_killed(self) -> None:
        self.times.engine_kills.append(time.time())
        database = asyncio.create_task(self.cluster.database.end(signal.SIGKILL))
        engines = [asyncio.to_thread(engine.kill) for engine in self.cluster.engines.values()]
        await asyncio.gather(*(program.kill() for program in self.cluster.programs()), *engines)
        await database
        await self.cluster.database.start()
        starts = [self.cluster.start_engine(name) for name in self.cluster.engines]
        await asyncio.gather(*starts)
        begin = time.monotonic()
        for program in self.cluster.programs():
            await program.start()
        await self.cluster.whole()
        self.times.add("everything killed: all is back", time.monotonic() - begin)

    async def line_spoiled(self, spoiling: Spoiling) -> None:
        name = self.any_worker()
        is_long = self.dice.random() < 0.4
        seconds = self.lease * PAST_THE_LEASE if is_long else self.dice.uniform(0.5, self.lease / 2)
        relays = [master.relay for master in self.cluster.masters.values()]
        for relay in relays:
            relay.spoil(name, spoiling)
        await asyncio.sleep(seconds)
        for relay in relays:
            relay.heal(name)
        with self.times.measured("worker beats after its line came back"):
            await self.cluster.beats(name)
