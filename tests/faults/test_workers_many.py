"""All masters restarted under many workers."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from podling.client import Client, cluster, tasks
from tests.e2e.programs import Programs, free_port, programs, until
from tests.faults.crowd import Crowd, crowd
from tests.faults.figures import tell

MASTERS = ("master", "master-2")
WORKERS = 200
LEASE_SECONDS = 12.0  # the default
MANY = 1000
READY_SECONDS = 30.0

pytestmark = [pytest.mark.xdist_group("faults-many"), pytest.mark.soak]


class Pair(Programs):
    """Two masters on one database."""

    second_port = 0

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in (self.port, self.second_port)]

    def start_masters(self) -> None:
        """Start both, and wait until both answer."""
        self.second_port = self.second_port or free_port()
        flags = ["--port", str(self.second_port), "--data-dir", str(self.directory / "master-2")]
        flags += ["--lease-seconds", str(self._lease_seconds), "--allow-simulated"]
        self._start("master-2", "master", flags)
        self.start_master("--allow-simulated")
        second = Client(self.urls[1])
        until("the second master answers", lambda: second.send(cluster.read())["clusterId"])

    def _is_ready(self) -> bool:
        """Either of the two may lead."""
        return bool(self.client.send(cluster.read())["clusterId"])

    def whole_log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def lost(self) -> list[str]:
        """Return what the masters have said of lost nodes."""
        lines = [line for name in MASTERS for line in self.whole_log(name).splitlines()]
        return [line for line in lines if "is lost" in line]


@pytest.fixture
def running() -> Iterator[Pair]:
    with programs("postgres", LEASE_SECONDS, kind=Pair) as started:
        started.start_masters()
        yield started


def restart(running: Pair, how: str) -> None:
    """End both masters, and start both again."""
    for name in MASTERS:
        if how == "kill":
            running.kill(name)
        else:
            assert running.terminate(name) == 0
    running.start_masters()


def online(running: Pair, count: int) -> None:
    # Counted by the master: a list of a thousand nodes, asked for all the time, would be a load of its own.
    until(
        f"{count} nodes are online", lambda: running.client.send(cluster.read())["nodes"]["online"] == count
    )


async def reconnected(running: Pair, workers: Crowd, how: str) -> list[float]:
    """Restart the masters; return when each worker was welcomed, counted from the first of them."""
    begin = asyncio.get_running_loop().time()
    await asyncio.to_thread(restart, running, how)
    ready = asyncio.get_running_loop().time()
    await workers.all_connected(READY_SECONDS)
    await asyncio.to_thread(online, running, len(workers.members))
    welcomes = workers.welcomes_since(begin)
    tell(
        f"{len(workers.members)} workers, {how} of both masters: restarted after {ready - begin:.1f} s,"
        f" first welcome after {welcomes[0]:.1f} s, last after {welcomes[-1]:.1f} s,"
        f" answers {dict(workers.statuses)}"
    )
    return [at - welcomes[0] for at in welcomes]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_masters_restarted_under_many_workers_lose_none(running: Pair, how: str) -> None:
    files = running.directory / "crowd"
    async with crowd(WORKERS, running.cluster_id, running.urls, files) as workers:
        await workers.all_connected(READY_SECONDS)
        # To keep on, since a slow start of the masters may take two thirds of a lease.
        spec = {"name": "long", "runtime": "simulated", "env": {"PODLING_SIMULATE_SECONDS": "20"}}
        spec |= {"onDisconnect": "keep", "onLost": "hold"}
        items = await asyncio.to_thread(running.client.send, tasks.submit_batch([spec] * WORKERS))
        await asyncio.to_thread(until, "all run", lambda: _running(running) == WORKERS)
        times = await reconnected(running, workers, how)
        assert running.lost() == []
        # They come one after the other: no tenth of a second has more than a good part of them.
        busiest = max(Counter(int(at * 10) for at in times).values())
        tell(f"the busiest tenth of a second had {busiest} of {len(times)} welcomes")
        assert busiest <= WORKERS / 2
        for item in items:
            ended = await asyncio.to_thread(running.client.wait, item["taskId"], 60)
            assert (ended["status"], ended["attempt"]) == ("completed", 1)
    assert workers.failures() == 0


def _running(running: Pair) -> int:
    return len(running.client.send(tasks.listing(statuses=["running"], limit=500)).items)


@pytest.mark.timeout(600)
async def test_a_thousand_workers_are_ready_again_within_half_a_minute(running: Pair) -> None:
    files = running.directory / "crowd"
    async with crowd(MANY, running.cluster_id, running.urls, files) as workers:
        begin = asyncio.get_running_loop().time()
        await workers.all_connected(2 * READY_SECONDS)
        tell(f"{MANY} workers connected at first within {asyncio.get_running_loop().time() - begin:.1f} s")
        before = workers.failures()
        await asyncio.to_thread(online, running, MANY)
        times = await reconnected(running, workers, "kill")
        assert times[-1] < READY_SECONDS
        assert workers.failures() == before == 0
        assert running.lost() == []
