"""The worker program without its settings: journal, agent, runtimes, session, logs and API together."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp

from podling.core.agent import held_attempts, is_idle
from podling.core.agent_events import Draining, Reconciled
from podling.core.errors import Unavailable
from podling.core.permissions import Policy
from podling.core.protocol import PROTOCOL_VERSION, HeldAttempt
from podling.kit.clock import Clock
from podling.kit.loop import Loop
from podling.kit.wakeup import Wakeup
from podling.wire.credentials import headers_of
from podling.wire.session import Hello, Welcome
from podling.worker.admission import Admission
from podling.worker.api import WorkerApi, check_address
from podling.worker.datadir import DataDirectory
from podling.worker.facts import FACTS_SECONDS, FactsSender
from podling.worker.gpus import Gpus
from podling.worker.inside import Inside, KeptDoor, opened_door
from podling.worker.joining import CHECK_SECONDS, Renewal
from podling.worker.journal import Clear, Journal, WriteMeta
from podling.worker.kept_lease import KeptLease, boot_id
from podling.worker.line import dial
from podling.worker.log_files import LogFiles
from podling.worker.logs import Logs
from podling.worker.masters import Masters, refuse_two_clusters
from podling.worker.measures import worker_metrics
from podling.worker.options import WorkerOptions
from podling.worker.runtime.base import Runtime
from podling.worker.session import Session, SessionOptions, learn_cluster
from podling.worker.shell import Shell
from podling.worker.standby import Standby, held_by_journal
from podling.worker.stopping import is_quiet, let_functions_end
from podling.worker.streams import Streams
from podling.worker.tails import TailSender

HEALTH_SECONDS = 5.0
SWEEP_SECONDS = 60.0
LOGS_SECONDS = 60.0
LEAVE_SECONDS = 15.0
CONNECT_SECONDS = 2.0  # the kernel asks twice in that time; a third try may find another master, or its way
USUAL_PORT = 8071
STARTING = "the worker is starting"
STOPPING = "the worker is shutting down"

_log = logging.getLogger(__name__)

MakeRuntimes = Callable[[str], Mapping[str, Runtime]]


class _LeftCluster(Exception):
    """The masters are of another cluster now, and nothing of the old one runs here any more."""

    def __init__(self, cluster_id: str) -> None:
        super().__init__(cluster_id)
        self.cluster_id = cluster_id


class Worker:
    """One worker, from its journal to its API. `make_runtimes` is given the cluster's id."""

    def __init__(
        self,
        options: WorkerOptions,
        directory: DataDirectory,
        journal: Journal,
        make_runtimes: MakeRuntimes,
        clock: Clock,
    ) -> None:
        self._options = options
        self._directory = directory
        self._journal = journal
        self._make_runtimes = make_runtimes
        self._clock = clock
        self._admission = Admission(options.policy, (directory.path, *options.own_files))
        self._masters = Masters(options.master_urls)
        self._kept_lease = KeptLease(journal, boot_id())
        self._kept_door = KeptDoor(journal)
        self._port = options.port
        self._stopping = asyncio.Event()
        self._stop_reason = ""

    def stop(self, reason: str = "it was told to") -> None:
        """Have `run` return, after it has told what there is to tell; containers go on."""
        self._stop_reason = reason
        self._stopping.set()

    def use_policy(self, policy: Policy) -> None:
        """Let it decide about whatever is made from now on."""
        self._admission.policy = policy

    async def run(self) -> None:
        """Work until `stop`. Raises ConfigurationError, RuntimeFailure."""
        cluster_id = self._journal.meta("clusterId")
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(ssl=self._options.tls or True)
        async with aiohttp.ClientSession(
            headers=self._headers(), timeout=timeout, connector=connector
        ) as http:
            while not self._stopping.is_set():
                if cluster_id is None:
                    cluster_id = await self._join(http)
                    if cluster_id is None:
                        return
                try:
                    await self._serve(cluster_id, http)
                except _LeftCluster as left:
                    cluster_id = left.cluster_id
                    await self._drop_tails()
                    await self._move(cluster_id)

    def _headers(self) -> dict[str, str]:
        own = self._options.credential
        return headers_of(self._options.token if own is None else own.secret)

    async def _join(self, http: aiohttp.ClientSession) -> str | None:
        """Learn, at the very first start, which cluster this is; None if told to stop meanwhile."""
        self._check_address()
        trying = asyncio.create_task(self._try_runtimes())
        if not await self._unless_stopped(trying):
            return None
        trying.result()
        hello = replace(self._hello((), STARTING), starts_afresh=True)
        dialling = partial(dial, http, self._options.node_id)
        learning = asyncio.create_task(learn_cluster(self._masters, dialling, hello))
        if not await self._unless_stopped(learning):
            return None
        cluster_id = learning.result()
        await self._move(cluster_id)
        return cluster_id

    def _check_address(self) -> None:
        """Choose the port. Raises ConfigurationError if it cannot be had."""
        if self._options.has_api:
            self._port = check_address(self._options.host, self._port)
        else:
            self._port = self._port or USUAL_PORT  # a node has to name one

    async def _try_runtimes(self) -> None:
        """A runtime that cannot be had is told before any master is asked. Raises RuntimeFailure."""
        for runtime in self._make_runtimes("none").values():
            try:
                await runtime.open(lambda told: None)
            finally:
                await runtime.close()

    async def _unless_stopped(self, work: "asyncio.Task[Any]") -> bool:
        """Wait for the work; give it up and return False if told to stop before it was done."""
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
            return work.done()
        finally:
            work.cancel()
            stopped.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)

    async def _drop_tails(self) -> None:
        """Logs of one cluster are nothing for the masters of another."""
        files = LogFiles(self._directory.path / "logs")
        for key in await asyncio.to_thread(files.pending_tails):
            await files.drop_tail(key)

    async def _move(self, cluster_id: str) -> None:
        _log.info("node %s is of cluster %s", self._options.node_id, cluster_id)
        self._kept_lease.forget()
        await self._journal.write(Clear())
        self._kept_door.forget_key()
        await self._journal.write(WriteMeta(name="clusterId", value=cluster_id))

    async def _serve(self, cluster_id: str, http: aiohttp.ClientSession) -> None:
        runtimes = self._make_runtimes(cluster_id)
        shell = Shell(
            cluster_id=cluster_id,
            runtimes=runtimes,
            journal=self._journal,
            clock=self._clock,
            admission=self._admission,
            gpus=Gpus(self._options.gpus),
        )
        files = LogFiles(self._directory.path / "logs")
        tails = TailSender(files, http, self._options.node_id, lambda: session.url, lambda: session.secret)
        logs = Logs(shell, files, tails)
        shell.save_logs = logs.save
        streams = Streams(logs, http, self._masters)
        facts = FactsSender(
            self._directory.path,
            runtimes.values(),
            http,
            self._options.node_id,
            lambda: session.url,
            self._clock,
            lambda: session.secret,
        )
        metrics = partial(worker_metrics, shell, self._journal)
        api = WorkerApi(self._options.node_id, shell, logs, self._options.token, metrics)
        loops = [Loop("facts", facts.run_once, FACTS_SECONDS, facts.wakeup)]
        if (own := self._options.credential) is not None:
            renewal = Renewal(own, http, lambda: session.url, self._clock)
            loops.append(Loop("credential", renewal.run_once, CHECK_SECONDS, renewal.wakeup))
        wakeups = [tails.wakeup, *(loop.wakeup for loop in loops)]
        inside = self._inside(shell)
        loops.append(Loop("inside", inside.sweep, SWEEP_SECONDS))
        session = self._session(cluster_id, http, shell, streams, inside, wakeups)
        async with AsyncExitStack() as stack:
            door = await stack.enter_async_context(
                opened_door(self._options.tls, lambda: session.url, inside)
            )
            stack.push_async_callback(shell.close)
            if not await self._open(cluster_id, http, shell):
                return
            await inside.open(door, runtimes, shell.state.attempts.values())
            stack.push_async_callback(streams.close)
            stack.push_async_callback(api.stop)
            if self._options.has_api:
                self._port = await api.start(self._options.host, self._port)
            tails.resume()
            session.unhealthy = await shell.check()
            await self._work(shell, session, tails, logs, loops, http)

    async def _open(self, cluster_id: str, http: aiohttp.ClientSession, shell: Shell) -> bool:
        """Take over what is there, beating meanwhile; False if told to stop first. Raises RuntimeFailure."""
        self._check_address()
        hello = replace(self._hello(held_by_journal(self._journal.rows()), STARTING), beats_only=True)
        node_id = self._options.node_id
        standby = Standby(self._masters, http, self._clock, node_id, cluster_id, hello, self._kept_lease.keep)
        opening = asyncio.create_task(shell.open(lambda: self._kept_lease.current))
        beating = asyncio.create_task(standby.run())
        try:
            if not await self._unless_stopped(opening):
                return False
            opening.result()
            return True
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _work(
        self,
        shell: Shell,
        session: Session,
        tails: TailSender,
        logs: Logs,
        more: Sequence[Loop],
        http: aiohttp.ClientSession,
    ) -> None:
        async def check_health() -> None:
            session.unhealthy = STOPPING if self._stopping.is_set() else await shell.check()

        loops = (
            Loop("health", check_health, HEALTH_SECONDS),
            Loop("logs", logs.flush_running, LOGS_SECONDS),
            Loop("sweep", shell.sweep, SWEEP_SECONDS),
            *more,
        )
        parts = [asyncio.create_task(loop.run()) for loop in loops]
        parts.append(asyncio.create_task(self._stay_in_one_cluster(http)))
        parts += [asyncio.create_task(session.run()), asyncio.create_task(tails.run())]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({*parts, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                await part
            await self._finish(shell, session, tails)
        except _LeftCluster:
            await _clear(shell)
            raise
        finally:
            for part in (*parts, stopped):
                part.cancel()
            await asyncio.gather(*parts, stopped, return_exceptions=True)

    async def _stay_in_one_cluster(self, http: aiohttp.ClientSession) -> None:
        """Never return. Raises ConfigurationError if the masters given do not belong together."""
        await refuse_two_clusters(self._masters, http)
        await asyncio.Event().wait()

    async def _finish(self, shell: Shell, session: Session, tails: TailSender) -> None:
        """Tell and keep what can be within the time for a stop."""
        session.unhealthy = STOPPING
        session.beating.set()
        shell.feed(Draining(reason=STOPPING))
        try:
            async with asyncio.timeout(self._options.shutdown_timeout):
                await let_functions_end(shell, self._options.shutdown_timeout / 2)
                while not is_quiet(shell, session):
                    await shell.changed()
                await tails.flush()
        except TimeoutError:
            _log.warning("not all could be told in time; the journal keeps the rest for the next start")
        await session.leave(self._stop_reason)

    # The session

    def _session(
        self,
        cluster_id: str,
        http: aiohttp.ClientSession,
        shell: Shell,
        streams: Streams,
        inside: Inside,
        when_connected: Sequence[Wakeup],
    ) -> Session:
        def connected() -> None:
            for wakeup in when_connected:
                wakeup.set()

        options = SessionOptions(
            hello=lambda: self._hello(held_attempts(shell.state), session.unhealthy),
            admitted=lambda welcome: self._admit(cluster_id, welcome, shell, session, inside),
            connected=connected,
            renewed=self._kept_lease.keep,
            heartbeat_interval=self._options.heartbeat_interval,
        )
        dialling = partial(dial, http, self._options.node_id)
        session = Session(options, self._masters, dialling, shell, streams)
        return session

    def _hello(self, held: tuple[HeldAttempt, ...], unhealthy: str | None) -> Hello:
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            instance=self._options.instance,
            hostname=self._options.hostname,
            port=self._port,
            capacity=self._options.capacity,
            allocatable=self._options.allocatable,
            labels=self._options.labels,
            runtimes=self._options.runtimes,
            version=self._options.version,
            held=held,
            unhealthy=unhealthy,
        )

    def _inside(self, shell: Shell) -> Inside:
        inside = Inside(
            self._options.node_id,
            self._directory.path / "inside",
            self._options.door,
            self._kept_door,
            shell.held,
            lambda: self._admission.policy,
        )
        shell.give = inside.given
        return inside

    def _admit(
        self, cluster_id: str, welcome: Welcome, shell: Shell, session: Session, inside: Inside
    ) -> None:
        if welcome.cluster_id == cluster_id:
            inside.learn_key(welcome.task_key)
            return
        if is_idle(shell.state):
            raise _LeftCluster(welcome.cluster_id)
        running = sum(held.final is None for held in shell.state.attempts.values())
        session.unhealthy = f"{running} attempts of another cluster, {cluster_id}, still run here"
        raise Unavailable(f"it is of another cluster, and {session.unhealthy}")


async def _clear(shell: Shell) -> None:
    """Remove what is left of a cluster that nobody here serves any more."""
    shell.feed(Reconciled(forget=tuple(shell.state.attempts)))
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_SECONDS):
            while shell.state.attempts:
                await shell.changed()
