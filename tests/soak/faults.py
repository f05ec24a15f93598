"""The faults of the table, each with its own check that everything came back."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from podling.client import tasks
from podling.core.errors import PodlingError
from tests.docker_engine import docker
from tests.soak.cluster import Cluster, until
from tests.soak.measures import Times
from tests.soak.mix import draw, spec_of
from tests.soak.relay import EVERYBODY, Spoiling

PAST_THE_LEASE = 1.4


@dataclass(slots=True)
class Faults:
    """Every method is one fault: it does it, waits until all is well, and notes the times."""

    cluster: Cluster
    times: Times
    dice: random.Random
    load_runtimes: tuple[str, ...] = ()
    probes: int = 0
    accepted_probes: dict[str, set[str]] = field(default_factory=dict)

    @property
    def lease(self) -> float:
        return self.cluster.settings.lease_seconds

    def _worker(self) -> str:
        return self.dice.choice(list(self.cluster.workers))

    # Workers

    async def worker_killed(self) -> None:
        name = self._worker()
        session = await self.cluster.session(name)
        await self.cluster.workers[name].kill()
        await self.cluster.workers[name].start()
        with self.times.measured("killed worker connected again"):
            await self.cluster.online(name, session)

    async def worker_lost(self) -> None:
        """Killed and away for longer than its lease: found, and its tasks run elsewhere."""
        name = self._worker()
        program = self.cluster.workers[name]
        session = await self.cluster.session(name)
        running = await self._repairable(name)
        begin = time.monotonic()
        await program.kill()
        try:
            await until(f"{name} is found lost", lambda: self._is_offline(name))
            self.times.add("worker loss found", time.monotonic() - begin)
            await self._until_elsewhere(name, running, begin)
        finally:
            await program.start()
        await self.cluster.online(name, session)

    async def _is_offline(self, name: str) -> bool:
        return await self.cluster.session(name) == 0

    async def _repairable(self, name: str) -> dict[str, int]:
        """Return tasks that run there and may be run again, with their attempts."""
        rows = await self.cluster.database.fetch(
            "SELECT t.task_id, t.attempt FROM live_tasks t JOIN task_specs s USING (task_id)"
            " WHERE t.node_id = $1 AND t.status = 'running' AND s.body ->> 'on_lost' = 'retry'"
            " AND s.body ->> 'delivery' = 'at_least_once'",
            name,
        )
        return {row["task_id"]: row["attempt"] for row in rows}

    async def _until_elsewhere(self, name: str, running: dict[str, int], begin: float) -> None:
        """Wait until each has a newer attempt that has started, or has ended."""
        left = dict(running)

        async def all_started() -> bool:
            rows = await self.cluster.database.fetch(
                "SELECT t.task_id, t.attempt, t.started_at IS NOT NULL AS started,"
                " t.status IN ('completed', 'failed', 'cancelled') AS ended"
                " FROM all_tasks t WHERE t.task_id = ANY($1)",
                list(left),
            )
            for row in rows:
                elsewhere = row["attempt"] > left[row["task_id"]] and row["started"]
                if elsewhere:
                    self.times.add("task restarted elsewhere", time.monotonic() - begin)
                if elsewhere or row["ended"]:
                    del left[row["task_id"]]
            return not left

        await until(f"the tasks of {name} run elsewhere", all_started)

    async def worker_stopped_past_its_lease(self) -> None:
        name = self._worker()
        session = await self.cluster.session(name)
        self.cluster.workers[name].pause()
        try:
            await asyncio.sleep(self.lease * PAST_THE_LEASE)
        finally:
            self.cluster.workers[name].resume()
        with self.times.measured("continued worker connected again"):
            await self.cluster.online(name, session)

    async def worker_restarted(self) -> None:
        name = self._worker()
        session = await self.cluster.session(name)
        code = await self.cluster.workers[name].terminate()
        await self.cluster.workers[name].start()
        await self.cluster.online(name, session)
        if code != 0:
            raise AssertionError(f"{name} ended with {code} on SIGTERM")

    async def keeper_killed(self) -> None:
        """The parent of plain processes dies; they run on, and how they end is unknown."""
        keepers = self.cluster.keepers()
        if keepers:
            _kill(self.dice.choice(keepers))
        await self.cluster.whole()

    # Masters

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

    # PostgreSQL

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
        self.probes += 1
        work = draw(-1, self.probes, ("simulated",))
        spec = spec_of(work, "", "", ("SOAK_PROBE", "1")) | {"name": f"probe-{self.probes}"}
        key = f"probe-{self.cluster.run}-{self.probes}"
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

    # Docker

    def _engine(self) -> str:
        return self.dice.choice(list(self.cluster.engines))

    async def engine_killed(self) -> None:
        await self._restart_engine(self._engine())
        await self.cluster.whole()

    async def _restart_engine(self, name: str) -> None:
        engine = self.cluster.engines[name]
        await asyncio.to_thread(engine.kill)
        await asyncio.sleep(self.dice.uniform(0, 2))
        with self.times.measured("dockerd answers again"):
            await asyncio.to_thread(engine.start)
        with self.times.measured("worker healthy after dockerd's return"):
            await until(f"{name} is healthy", lambda: self._is_healthy(name))

    async def _is_healthy(self, name: str) -> bool:
        rows = await self.cluster.database.fetch(
            "SELECT body ->> 'unhealthy' FROM node_records WHERE node_id = $1 AND status = 'online'", name
        )
        return bool(rows) and rows[0][0] is None

    async def container_removed_by_hand(self) -> None:
        host = self.cluster.engines[self._engine()].host

        async def removed() -> bool:
            found = (await asyncio.to_thread(docker, "ps", "-q", host=host)).split()
            if found:
                await asyncio.to_thread(_remove, host, self.dice.choice(found))
            return bool(found)

        await until("a container runs that can be removed", removed)

    # Everything, and the lines between

    async def everything_killed(self) -> None:
        database = asyncio.create_task(self.cluster.database.end(signal.SIGKILL))
        engines = [asyncio.to_thread(engine.kill) for engine in self.cluster.engines.values()]
        await asyncio.gather(*(program.kill() for program in self.cluster.programs()), *engines)
        await database
        await self.cluster.database.start()
        starts = [asyncio.to_thread(engine.start) for engine in self.cluster.engines.values()]
        await asyncio.gather(*starts)
        begin = time.monotonic()
        for program in self.cluster.programs():
            await program.start()
        await self.cluster.whole()
        self.times.add("everything killed: all is back", time.monotonic() - begin)

    async def line_spoiled(self, spoiling: Spoiling) -> None:
        name = self._worker()
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


def _kill(pid: int) -> None:
    import os
    from contextlib import suppress

    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _remove(host: str, container: str) -> None:
    docker("rm", "-f", container, host=host)


Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault of the table; `weight` is how often it is drawn, `is_total` that nothing outlives it."""

    name: str
    weight: float
    run: Fault
    is_total: bool = False


def table(faults: Faults) -> list[Kind]:
    """Return every kind of fault that this cluster can have."""
    kinds = [
        Kind("worker killed, restarted", 8, faults.worker_killed),
        Kind("worker killed, away past its lease", 5, faults.worker_lost),
        Kind("worker stopped past its lease, continued", 4, faults.worker_stopped_past_its_lease),
        Kind("worker ended by SIGTERM, restarted", 5, faults.worker_restarted),
        Kind("keeper of processes killed", 2, faults.keeper_killed),
        Kind("leader killed, away", 4, faults.leader_killed),
        Kind("leader killed, restarted", 4, faults.leader_killed_and_restarted),
        Kind("leader stopped past its lease, continued", 3, faults.leader_stopped_past_its_lease),
        Kind("leader ended by SIGTERM", 4, faults.leader_stops),
        Kind("follower killed, restarted", 4, faults.follower_killed),
        Kind("leader cut off from PostgreSQL", 3, faults.leader_cut_from_database),
        Kind("all masters killed at once", 2, faults.all_masters_killed, is_total=True),
        Kind("PostgreSQL killed", 4, faults.postgres_killed),
        Kind("PostgreSQL immediate stop", 3, faults.postgres_stopped_at_once),
        Kind("PostgreSQL fast stop", 3, faults.postgres_stopped_fast),
        Kind("PostgreSQL hangs", 2, faults.postgres_hangs),
        Kind("one backend terminated", 4, faults.one_backend_ended),
        Kind("LISTEN session terminated", 4, faults.listener_ended),
        Kind("everything killed at once", 2, faults.everything_killed, is_total=True),
    ]
    lines = (
        (Spoiling.CUT, 3),
        (Spoiling.PARTITION, 2),
        (Spoiling.ONE_WAY_UP, 2),
        (Spoiling.ONE_WAY_DOWN, 2),
        (Spoiling.DELAY, 2),
        (Spoiling.HALF_CLOSE, 3),
        (Spoiling.LOSE_REPLIES, 3),
    )
    kinds += [
        Kind(f"line of a worker: {spoiling}", weight, lambda spoiling=spoiling: faults.line_spoiled(spoiling))
        for spoiling, weight in lines
    ]
    if faults.cluster.engines:
        kinds += [
            Kind("dockerd killed, restarted", 5, faults.engine_killed),
            Kind("container removed by hand", 6, faults.container_removed_by_hand),
        ]
    return kinds
