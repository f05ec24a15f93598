"""Masters and workers as programs of the world: the real parts, joined as `podling.boot` joins them."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from podling.core.agent import held_attempts
from podling.core.agent_events import Draining
from podling.core.errors import ConfigurationError, PodlingError
from podling.core.protocol import PROTOCOL_VERSION, AttemptKey, HeldAttempt, ReportKind
from podling.kit.loop import Loop
from podling.master.api.session import Desk, serve
from podling.master.context import MasterOptions
from podling.master.server import MasterServer
from podling.wire.session import Hello, Reports
from podling.worker.admission import Admission
from podling.worker.journal import Clear, WriteMeta
from podling.worker.kept_lease import KeptLease
from podling.worker.masters import Masters
from podling.worker.session import Session, SessionOptions, learn_cluster
from podling.worker.shell import Shell
from podling.worker.stopping import is_quiet
from podling.worker.worker import HEALTH_SECONDS, STARTING, STOPPING, SWEEP_SECONDS
from tests.sim.database import Connection, Database
from tests.sim.journal import SimulatedJournal
from tests.sim.loop import Process, SimulatedLoop
from tests.sim.machine import Machine, SimulatedEngine
from tests.sim.network import End, MasterLine, Network, WorkerLine
from tests.sim.orders import Orders
from tests.sim.story import MachineClock, Story

STOP_SECONDS = 10.0


class Program:
    """Starts, pauses and dies. `name` is its host's."""

    def __init__(self, name: str, loop: SimulatedLoop, network: Network, story: Story, seed: str) -> None:
        self.name = name
        self.loop = loop
        self.network = network
        self.story = story
        self.starts = 0
        self.disturbed_at = float("-inf")  # when it last was dead or paused
        self.process = Process(name)
        self.process.alive = False
        self._seed = seed

    @property
    def runs(self) -> bool:
        return self.process.alive and not self.process.paused

    def start(self) -> None:
        self.starts += 1
        self.disturbed_at = self.loop.time()
        self.chance = random.Random(f"{self._seed} {self.name} {self.starts}")
        self.process = Process(f"{self.name}#{self.starts}")
        self.loop.spawn(self.process, self._main())

    async def _main(self) -> None:
        try:
            await self.main()
        except (PodlingError, OSError, TimeoutError) as error:
            self.story.tell("ends by itself", program=self.name, why=str(error)[:80])
        except Exception as error:  # noqa: BLE001 - it is the finding that the world is there for
            self.story.violation("unexpected", f"{self.name} ends with {error!r}")
        self.exit()

    def exit(self) -> None:
        """End in order; the process that says so is the one that ends."""
        self.loop.later(0.0, self._exit, self.process)

    def _exit(self, process: Process) -> None:
        if process is self.process and process.alive:
            self.crash()

    async def main(self) -> None:
        raise NotImplementedError

    def crash(self) -> None:
        self.loop.kill(self.process)
        self.network.crash(self.name)

    def light_fuse(self, callbacks: int, then: Callable[[], None]) -> None:
        """Have it happen after so many callbacks: at any await."""
        self.process.fuse, self.process.burnt = callbacks, then

    def pause(self) -> None:
        self.loop.pause(self.process)

    def resume(self) -> None:
        self.disturbed_at = self.loop.time()
        self.loop.resume(self.process)


class SimulatedMaster(Program):
    def __init__(
        self,
        name: str,
        clock: MachineClock,
        database: Database,
        lease_seconds: float,
        poll_seconds: float,
        *surroundings: Any,
    ) -> None:
        super().__init__(name, *surroundings)
        self.clock = clock
        self.server: MasterServer | None = None
        self._database = database
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds

    async def main(self) -> None:
        options = MasterOptions(
            advertise_url=f"http://{self.name}",
            identity=self.name,
            master_id=f"{self.name}-{self.starts}",
            version="simulated",
            lease_seconds=self._lease_seconds,
            poll_seconds=self._poll_seconds,
        )
        store: Any = Connection(self._database, self.network, self.name)
        server = MasterServer(options, store, self.clock, self.chance.random, self.chance.getrandbits)
        await server.join()
        self.network.listen(self.name, partial(self._accept, server))
        server.run_loops()
        self.server = server
        await asyncio.Event().wait()

    def _accept(self, server: MasterServer, end: End) -> None:
        desk = Desk(server.context, server.sessions, server.beats, server.relay)
        serving = self.loop.spawn(self.process, self._serve(desk, end))
        end.on_hang_up = serving.cancel  # as the server does with handlers of who has gone

    async def _serve(self, desk: Desk, end: End) -> None:
        try:
            await serve(desk, end.peer_host, MasterLine(end))
        except TimeoutError as error:
            self.story.tell("session ends", master=self.name, why=str(error))
        finally:
            end.close()

    def crash(self) -> None:
        super().crash()
        self.server = None

    @property
    def leads(self) -> bool:
        return self.runs and self.server is not None and self.server.context.leads

    def stop(self) -> None:
        """As by SIGTERM."""
        if self.server is not None and self.runs:
            self.loop.spawn(self.process, self._stop(self.server))

    async def _stop(self, server: MasterServer) -> None:
        await server.stop()
        self.exit()

    def handle(self, operation: Callable[[Any], Any], reply: Callable[[Any], None]) -> None:
        """Serve a client's request that has arrived."""
        if self.server is None:
            reply(ConnectionRefusedError(self.name))
        else:
            self.loop.spawn(self.process, self._handle(self.server, operation, reply))

    async def _handle(
        self, server: MasterServer, operation: Callable[[Any], Any], reply: Callable[[Any], None]
    ) -> None:
        try:
            reply(await operation(server.context))
        except PodlingError as error:
            reply(error)


class SimulatedWorker(Program):
    def __init__(
        self,
        machine: Machine,
        masters: tuple[str, ...],
        amounts: dict[str, int],
        journal: type[SimulatedJournal],
        *surroundings: Any,
    ) -> None:
        super().__init__(machine.name, *surroundings)
        self.machine = machine
        self.shell: Shell | None = None
        self.amounts = amounts
        self.orders = Orders(machine.loop.time)
        self._masters = masters
        self._journal_class = journal
        self._journal: SimulatedJournal | None = None
        self._stopping = False

    async def main(self) -> None:
        self._stopping = False
        self.orders.forget()
        masters = Masters(tuple(f"http://{name}" for name in self._masters))
        journal = self._journal = self._journal_class(self.machine)
        cluster_id = journal.meta("clusterId") or await self._join(masters, journal)
        lease = KeptLease(journal, str(self.machine.boots))
        engines = {
            "docker": SimulatedEngine("docker", self.machine, knows_every_start=False),
            "process": SimulatedEngine("process", self.machine, knows_every_start=True),
        }
        shell = Shell(
            cluster_id=cluster_id,
            runtimes=engines,
            journal=journal,
            clock=self.machine.clock,
            admission=Admission(),
        )
        session = self._session(masters, shell, lease)
        await shell.open(lambda: lease.current)
        self.shell = shell
        session.unhealthy = await shell.check()
        await self._work(shell, session)

    async def _join(self, masters: Masters, journal: SimulatedJournal) -> str:
        hello = replace(self._hello((), STARTING), starts_afresh=True)
        cluster_id = await learn_cluster(masters, self._dial, hello, self.chance.random)
        await journal.write(Clear())
        await journal.write(WriteMeta(name="clusterId", value=cluster_id))
        return cluster_id

    def _session(self, masters: Masters, shell: Shell, lease: KeptLease) -> Session:
        options = SessionOptions(
            hello=lambda: self._hello(held_attempts(shell.state), session.unhealthy),
            admitted=lambda welcome: None,
            connected=lambda: None,
            renewed=lease.keep,
            draw=self.chance.random,
        )
        nobody_reads_logs: Any = None
        session = Session(options, masters, self._dial, shell, nobody_reads_logs)
        return session

    async def _work(self, shell: Shell, session: Session) -> None:
        async def check_health() -> None:
            session.unhealthy = STOPPING if self._stopping else await shell.check()

        async with asyncio.TaskGroup() as group:
            group.create_task(Loop("health", check_health, HEALTH_SECONDS).run())
            group.create_task(Loop("sweep", shell.sweep, SWEEP_SECONDS).run())
            group.create_task(self._keep(session))
            group.create_task(self._finish_when_told(shell, session))

    async def _keep(self, session: Session) -> None:
        try:
            await session.run()
        except ConfigurationError as error:
            self.story.violation("I20", f"{self.name} was sent away for good: {error.message}")
            raise

    async def _finish_when_told(self, shell: Shell, session: Session) -> None:
        self._stop = asyncio.Event()
        await self._stop.wait()
        self._stopping = True
        session.unhealthy = STOPPING
        session.beating.set()
        shell.feed(Draining(reason=STOPPING))
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while not is_quiet(shell, session):
                    await shell.changed()
        except TimeoutError:
            self.story.tell("could not tell all", worker=self.name)
        await session.leave("SIGTERM")
        self.exit()

    def stop(self) -> None:
        """As by SIGTERM."""
        if self.shell is not None and self.runs:
            self._stop.set()

    def crash(self) -> None:
        super().crash()
        self.shell = None
        self.machine.observers.clear()
        if self._journal is not None:
            self._journal.crash()
            self._journal = None

    def _hello(self, held: tuple[HeldAttempt, ...], unhealthy: str | None) -> Hello:
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            instance=f"{self.name}-{self.starts}",
            hostname=self.name,
            port=8081,
            capacity=self.amounts,
            allocatable=self.amounts,
            runtimes=("docker", "process"),
            version="simulated",
            held=held,
            unhealthy=unhealthy,
        )

    async def _dial(self, url: str, patience: float) -> WorkerLine:
        end = await self.network.connect(self.name, url.removeprefix("http://"), patience)
        return WorkerLine(end, self._check_report, self.orders.hear)

    def _check_report(self, message: object) -> None:
        """I15: an end is on disk before it is told."""
        if not isinstance(message, Reports):
            return
        for report in message.items:
            row = self.machine.disk.get(AttemptKey(task_id=report.task_id, attempt=report.attempt))
            is_end = report.kind is ReportKind.ENDED
            if is_end and (row.final is None if row is not None else not report.never_started):
                self.story.violation("I15", f"{report.task_id}/{report.attempt} told before it was on disk")
