"""Everything that runs: PostgreSQL, masters behind relays, private engines, workers."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiohttp

from podling.client import AsyncClient
from podling.core.errors import PodlingError
from tests.docker_engine import PrivateEngine, make_image, unmount_below
from tests.soak.database import Database, DatabaseAway
from tests.soak.programs import Program
from tests.soak.settings import Settings
from tests.soak.spoiled_relay import SpoiledRelay

T = TypeVar("T")

VOLUME = "soak-ledger"
RUN_VARIABLE = "SOAK_RUN"
WORKERS = {
    "docker-1": ("--runtime", "docker", "--capacity", "8"),
    "docker-2": ("--runtime", "docker", "--capacity", "8"),
    "process-1": ("--runtime", "process", "--capacity", "40", "--allow-root-processes"),
    "process-2": ("--runtime", "process", "--capacity", "40", "--allow-root-processes"),
    "simulated-1": ("--runtime", "simulated", "--capacity", "200"),
    "simulated-2": ("--runtime", "simulated", "--capacity", "200"),
}
ENGINES = {"docker-1": ("--live-restore",), "docker-2": ()}
RECOVERY_SECONDS = 90.0
ENGINE_STARTS = 3
_POLL_SECONDS = 0.05
_REQUEST_SECONDS = 5.0


class NotRecovered(Exception):
    """Something that should have come back within the deadline did not."""


async def until(
    what: str, attempt: Callable[[], Awaitable[T | None]], seconds: float = RECOVERY_SECONDS
) -> T:
    """Return the first true answer; who is away has not answered yet. Raises NotRecovered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(PodlingError, DatabaseAway, aiohttp.ClientError, OSError, TimeoutError):
            if answer := await attempt():
                return answer
        await asyncio.sleep(_POLL_SECONDS)
    raise NotRecovered(f"not within {seconds:g} s: {what}")


@dataclass(slots=True)
class Master:
    """A master, the relay that workers reach it by, and the relay by which it reaches PostgreSQL."""

    program: Program
    relay: SpoiledRelay
    database_relay: SpoiledRelay
    client: AsyncClient
    url: str

    @property
    def name(self) -> str:
        return self.program.name


@dataclass(slots=True)
class Cluster:
    settings: Settings
    directory: Path
    run: str
    database: Database
    masters: dict[str, Master] = field(default_factory=dict)
    workers: dict[str, Program] = field(default_factory=dict)
    engines: dict[str, PrivateEngine] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)  # of the workers' own ports

    @property
    def ledger(self) -> Path:
        """Where processes write what they do."""
        return self.directory / "ledger"

    @property
    def ledgers(self) -> list[Path]:
        """Every ledger, those in the engines' volumes too."""
        volumes = [self._home(name) / f"data/volumes/{VOLUME}/_data/ledger" for name in self.engines]
        return [self.ledger, *volumes]

    @property
    def runtimes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.partition("-")[0] for name in self.workers))

    def programs(self) -> list[Program]:
        return [*(master.program for master in self.masters.values()), *self.workers.values()]

    def _home(self, name: str) -> Path:
        # Containers' own sockets must fit into the kernel's 108 bytes, hence no deep folder.
        return self.directory / name[-8:]

    # Starting

    async def start(self) -> None:
        """Start everything and wait until all workers are connected."""
        await self.database.start()
        for number in range(1, self.settings.masters + 1):
            await self._add_master(f"master-{number}")
        for name, flags in WORKERS.items():
            if self.settings.with_docker or not name.startswith("docker"):
                await self._add_worker(name, flags)
        for name in self.workers:
            await self.online(name)

    async def _add_master(self, name: str) -> None:
        port = _free_port()
        relay = SpoiledRelay(partial(asyncio.open_connection, "127.0.0.1", port))
        database_relay = SpoiledRelay(partial(asyncio.open_unix_connection, str(self.database.socket)))
        await relay.open()
        await database_relay.open()
        flags = ["--port", str(port), "--data-dir", str(self.directory / name), "--allow-simulated"]
        flags += ["--advertise-url", f"http://127.0.0.1:{relay.port}", "--store-type", "postgres"]
        flags += ["--lease-seconds", str(self.settings.lease_seconds)]
        address = f"postgres:{quote(self.database.password)}@127.0.0.1:{database_relay.port}"
        environment = {"DATABASE_URL": f"postgresql://{address}/postgres?sslmode=disable"}
        self.masters[name] = Master(
            program=Program(name, "master", flags, self.directory, environment),
            relay=relay,
            database_relay=database_relay,
            client=AsyncClient(f"http://127.0.0.1:{port}", timeout_seconds=_REQUEST_SECONDS),
            url=f"http://127.0.0.1:{port}",
        )
        await self.masters[name].program.start()
        await self.ready(name)

    async def _add_worker(self, name: str, flags: tuple[str, ...]) -> None:
        more = []
        if name in ENGINES:
            engine = self.engines[name] = PrivateEngine(self._home(name), *ENGINES[name])
            self._home(name).mkdir()
            await asyncio.to_thread(engine.start)
            await asyncio.to_thread(make_image, engine.host)
            more = ["--docker-host", engine.host]
        urls = ",".join(f"http://127.0.0.1:{master.relay.port}" for master in self.masters.values())
        port = _free_port()
        self.urls[name] = f"http://127.0.0.1:{port}"
        own = ["--node-id", name, "--hostname", name, "--port", str(port), "--master-url", urls]
        own += ["--data-dir", str(self.directory / f"{name}-data"), "--shutdown-timeout", "10"]
        self.workers[name] = Program(name, "worker", [*own, *flags, *more], self.directory, {})
        await self.workers[name].start()

    async def start_engine(self, name: str) -> None:
        """Start the engine again; one that gives up, waiting for its own helper, gets another try."""
        engine = self.engines[name]
        for _ in range(ENGINE_STARTS - 1):
            try:
                await asyncio.to_thread(engine.start)
            except RuntimeError:
                await asyncio.to_thread(engine.kill)
            else:
                return
        await asyncio.to_thread(engine.start)

    # Watching

    async def ready(self, name: str) -> None:
        """Wait until the master can work."""
        master = self.masters[name]

        async def is_ready() -> bool:
            async with aiohttp.request(
                "GET", f"{master.url}/ready", timeout=aiohttp.ClientTimeout(total=5)
            ) as answer:
                return answer.status == 200

        await until(f"{name} is ready", is_ready)

    async def online(self, name: str, after_session: int = 0) -> None:
        """Wait until the worker is connected, with a newer session than this one."""

        async def is_online() -> bool:
            return (await self.session(name)) > after_session

        await until(f"{name} is online", is_online)

    async def session(self, name: str) -> int:
        """Return the number of the worker's session; 0 while it is not connected."""
        sql = "SELECT session_no FROM node_records WHERE node_id = $1 AND status = 'online'"
        rows = await self.database.fetch(sql, name)
        return int(rows[0][0]) if rows else 0

    async def beats(self, name: str) -> None:
        """Wait until the worker's counter grows and it is online: an old session tells nothing."""
        sql = (
            "SELECT b.counter FROM node_beats b JOIN node_records n USING (node_id)"
            " WHERE node_id = $1 AND NOT b.lost AND n.status = 'online'"
        )
        seen: list[int] = []

        async def has_grown() -> bool:
            seen.extend(row[0] for row in await self.database.fetch(sql, name))
            return bool(seen) and seen[-1] != seen[0]

        await until(f"{name} beats", has_grown)

    async def leader(self) -> tuple[int, str | None]:
        """Return the epoch and who leads. Raises DatabaseAway."""
        rows = await self.database.fetch(
            "SELECT l.epoch, m.advertise_url FROM leadership l LEFT JOIN masters m ON m.identity = l.holder"
            " ORDER BY m.registered_at DESC NULLS LAST LIMIT 1"
        )
        url = rows[0]["advertise_url"]
        names = {f"http://127.0.0.1:{master.relay.port}": name for name, master in self.masters.items()}
        return int(rows[0]["epoch"]), names.get(url)

    async def whole(self) -> None:
        """Wait until every master is ready and every worker is connected."""
        await asyncio.gather(*map(self.ready, self.masters))
        await asyncio.gather(*map(self.beats, self.workers))

    # Ending

    async def close(self) -> None:
        """End everything, workers first."""
        await asyncio.gather(*(worker.terminate() for worker in self.workers.values()))
        await asyncio.gather(*(master.program.terminate() for master in self.masters.values()))
        for master in self.masters.values():
            await master.client.close()
            await master.relay.close()
            await master.database_relay.close()
        for name, engine in self.engines.items():
            await asyncio.to_thread(engine.close)
            await asyncio.to_thread(unmount_below, self._home(name))
        await self.database.close()
        for pid in self.keepers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def keepers(self) -> list[int]:
        """Return the ids of the processes' keepers, which outlive their workers for a while."""
        return [pid for pid, words in _commands() if "keeper" in words and str(self.directory) in words]

    def left_processes(self) -> list[int]:
        """Return the ids of tasks' processes that still run."""
        marker = f"{RUN_VARIABLE}={self.run}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marker in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found


def _commands() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append((int(folder.name), words))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def cluster(settings: Settings) -> AsyncIterator[Cluster]:
    """Give a running cluster in a directory of its own; nothing of it runs afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="podling-soak-"))
    directory.chmod(0o755)
    started = Cluster(settings, directory, secrets.token_hex(8), Database(directory / "postgres"))
    started.ledger.touch(mode=0o666)
    try:
        await started.start()
        yield started
    finally:
        await started.close()


def remove_files(directory: Path) -> None:
    """Remove what a run has left on disk."""
    shutil.rmtree(directory, ignore_errors=True)
