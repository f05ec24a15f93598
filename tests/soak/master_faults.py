"""Masters killed, stopped, ended, cut off."""

import asyncio
import time

from tests.soak.cluster import until
from tests.soak.ground import Ground
from tests.soak.spoiled_relay import EVERYBODY, Spoiling


class MasterFaults(Ground):
    """See the module."""

    async def _leads(self, other_than: int = -1) -> tuple[int, str]:
        """Wait for a leader of a newer epoch."""

        async def find() -> tuple[int, str] | None:
            epoch, name = await self.cluster.leader()
            return (epoch, name) if name is not None and epoch > other_than else None

        return await until("there is a leader", find)

    async def leader_killed(self) -> None:
        epoch, name = await self._leads()
        program = self.cluster.masters[name].program
        await program.kill()
        try:
            with self.times.measured("leader failover after a crash"):
                await self._leads(epoch)
        finally:
            await program.start()
        await self.cluster.ready(name)

    async def leader_killed_and_restarted(self) -> None:
        epoch, name = await self._leads()
        await self.cluster.masters[name].program.kill()
        await self.cluster.masters[name].program.start()
        with self.times.measured("restarted leader or another leads"):
            await self._leads(epoch)
        await self.cluster.ready(name)

    async def leader_stopped_past_its_lease(self) -> None:
        epoch, name = await self._leads()
        self.cluster.masters[name].program.pause()
        try:
            with self.times.measured("leader failover after a hang"):
                await self._leads(epoch)
            await asyncio.sleep(self.dice.uniform(0, self.lease / 2))
        finally:
            self.cluster.masters[name].program.resume()
        await self.cluster.ready(name)
        await self._has_not_come_back(epoch)

    async def _has_not_come_back(self, epoch: int) -> None:
        now, _ = await self.cluster.leader()
        if now <= epoch:
            raise AssertionError(f"epoch {now} after {epoch}: epochs must grow")

    async def leader_stops(self) -> None:
        epoch, name = await self._leads()
        program = self.cluster.masters[name].program
        leaving = asyncio.create_task(program.terminate())
        begin = time.monotonic()
        await self._leads(epoch)
        self.times.add("leader failover after a clean stop, from SIGTERM", time.monotonic() - begin)
        code = await leaving
        await program.start()
        await self.cluster.ready(name)
        if code != 0:
            raise AssertionError(f"{name} ended with {code} on SIGTERM")

    async def follower_killed(self) -> None:
        _, leader = await self._leads()
        name = self.dice.choice([name for name in self.cluster.masters if name != leader])
        await self.cluster.masters[name].program.kill()
        await self.cluster.masters[name].program.start()
        await self.cluster.ready(name)

    async def leader_cut_from_database(self) -> None:
        """It steps down; when its connections pass again, its held-back writes change nothing."""
        epoch, name = await self._leads()
        relay = self.cluster.masters[name].database_relay
        spoiling = self.dice.choice((Spoiling.PARTITION, Spoiling.CUT, Spoiling.ONE_WAY_DOWN))
        relay.spoil(EVERYBODY, spoiling)
        try:
            with self.times.measured("leader failover after a cut from PostgreSQL"):
                await self._leads(epoch)
        finally:
            relay.heal(EVERYBODY)
        await self.cluster.ready(name)
        await self._has_not_come_back(epoch)

    async def all_masters_killed(self) -> None:
        """Killed together and started at once: no node may be declared lost for it."""
        sessions = {name: await self.cluster.session(name) for name in self.cluster.workers}
        programs = [master.program for master in self.cluster.masters.values()]
        await asyncio.gather(*(program.kill() for program in programs))
        await asyncio.gather(*(program.start() for program in programs))
        with self.times.measured("all masters restarted: all workers back"):
            await self.cluster.whole()
            for name, session in sessions.items():
                await self.cluster.online(name, session)
