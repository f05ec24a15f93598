"""One master: its parts joined, its loops running, its HTTP answered."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from functools import partial
from ssl import SSLContext

from aiohttp import web

from podling.core.access import NEEDS_TOKEN, is_loopback
from podling.core.errors import ConfigurationError, PodlingError
from podling.core.permissions import Policy
from podling.kit.clock import Clock
from podling.kit.connection import arrived
from podling.kit.loop import Loop
from podling.kit.wakeup import Wakeup
from podling.master.alerts.office import AlertOffice
from podling.master.api import (
    alerts,
    checkpoints,
    cluster,
    coordination,
    dead_letters,
    decisions,
    doctor,
    events,
    join,
    logs,
    metrics,
    nodes,
    openapi,
    parents,
    queues,
    schedules,
    session,
    tasks,
    tokens,
    workflows,
)
from podling.master.api.access import Access
from podling.master.api.admission import ADMISSION, Admission
from podling.master.api.http import MOST_BODY_BYTES, errors
from podling.master.api.keys import (
    AUDIT,
    BEATS,
    CONTEXT,
    CONTRACT,
    FACTS,
    OFFICE,
    RELAY,
    SAMPLER,
    SESSIONS,
    STREAMS,
)
from podling.master.api.metrics import counted
from podling.master.api.route import Route
from podling.master.audit_log import AuditLog
from podling.master.context import MasterOptions, build
from podling.master.door import SHUTDOWN_SECONDS, Door
from podling.master.leases import check_lease
from podling.master.loops.alerts import AlertLoop
from podling.master.loops.changes import ChangesFeed
from podling.master.loops.deadlines import Deadlines
from podling.master.loops.dependents import Dependents
from podling.master.loops.drains import Drains
from podling.master.loops.election import Election
from podling.master.loops.inbox import InboxLoop
from podling.master.loops.node_monitor import NodeMonitor
from podling.master.loops.peers import Peers
from podling.master.loops.promoter import Promoter
from podling.master.loops.retention import RETENTION_SECONDS, Retention
from podling.master.loops.scheduler import Scheduler
from podling.master.loops.schedules import ScheduleLoop
from podling.master.operations import logs as log_texts
from podling.master.operations.checkpoints import check_live
from podling.master.sampler import LOOK_SECONDS, Sampler
from podling.master.sessions.beats import Beats
from podling.master.sessions.facts import FactsTable
from podling.master.sessions.registry import Sessions
from podling.master.sessions.relay import Relay
from podling.master.sessions.streams import Streams
from podling.store.base import Store

_log = logging.getLogger(__name__)

DECISIONS_SECONDS = 1.0
POLLS_PER_RULES = 5  # rules of alerts and policies of queues change seldom, and a hint tells of it
CHANGES_PER_POLL = 2  # a task submitted at one master, for a node of another, waits for two of these


class MasterServer:
    """`start` opens the store and the port; `stop` finishes what was accepted and closes both."""

    def __init__(
        self,
        options: MasterOptions,
        store: Store,
        clock: Clock,
        draw: Callable[[], float] = random.random,
        draw_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.context = build(options, store, clock, draw, draw_bits)
        self.streams = Streams()
        urgent = frozenset(route.handler for route in _routes() if route.urgent)
        self.admission = Admission(urgent, lambda: self.context.committer.is_behind)
        self._changes = ChangesFeed(self.context)
        self.audit = AuditLog(store.audit)
        self._election_due, self._relay_due, self._peers_due = Wakeup(), Wakeup(), Wakeup()
        self._tokens_due = Wakeup()
        self._rules_due = Wakeup()
        self._queues_due = Wakeup()
        self.office = AlertOffice(self.context, self._log_end)
        self._alerts = AlertLoop(self.context, self.office)
        self._loops = self._make_loops()
        self._door: Door | None = None
        self._running: list[asyncio.Task[None]] = []
        self._registered = False

    def _make_loops(self) -> list[Loop]:
        context, poll = self.context, self.context.options.poll_seconds
        scheduler = Scheduler(context, self._changes.catch_up)
        context.node_listeners.append(scheduler.node_changed)
        self.sessions = Sessions(context, context.node_changed)
        self.beats = Beats(context, self.sessions)
        self.relay = Relay(context, self.sessions, self.streams)
        promoter = Promoter(context, scheduler.wakeup)
        dependents = Dependents(context)
        deadlines = Deadlines(context)
        drains = Drains(context)
        self._schedules = ScheduleLoop(context)
        self._inbox = InboxLoop(context)
        monitor = NodeMonitor(context, context.node_changed)
        peers = Peers(context, context.node_changed, self.sessions.tell_masters, start_over=self._start_over)
        self._election = Election(context, [self._changes.catch_up, peers.load_nodes, context.queues.learn])
        self.sampler = Sampler(context, self.sessions)
        context.when_leading += [scheduler.wakeup, promoter.wakeup, deadlines.wakeup, drains.wakeup]
        context.when_leading += [self._schedules.wakeup, self._inbox.wakeup, dependents.wakeup]
        context.when_leading.append(context.alerts.wakeup)
        watched = partial(Loop, watch=context.measures.passed)
        return [
            watched("election", self._election.run_once, self._election.interval_seconds, self._election_due),
            watched("scheduler", scheduler.run_once, poll, scheduler.wakeup),
            watched("promoter", promoter.run_once, poll, promoter.wakeup),
            watched("dependents", dependents.run_once, poll, dependents.wakeup),
            watched("deadlines", deadlines.run_once, poll, deadlines.wakeup),
            watched("drains", drains.run_once, poll, drains.wakeup),
            watched("schedules", self._schedules.run_once, poll, self._schedules.wakeup),
            watched("inbox", self._inbox.run_once, poll, self._inbox.wakeup),
            watched("node monitor", monitor.run_once, monitor.interval_seconds),
            watched("beats", self.beats.run_once, poll),
            watched("peers", peers.run_once, peers.interval_seconds, self._peers_due),
            watched("changes", self._changes.run_once, poll / CHANGES_PER_POLL, self._changes.wakeup),
            watched("relay", self.relay.run_once, poll, self._relay_due),
            watched("tokens", context.credentials.run_once, poll, self._tokens_due),
            watched("audit", self.audit.run_once, poll, self.audit.wakeup),
            watched("alert rules", context.alerts.learn, poll * POLLS_PER_RULES, self._rules_due),
            watched("queues", context.queues.learn, poll * POLLS_PER_RULES, self._queues_due),
            watched("alerts", self._alerts.run_once, poll, context.alerts.wakeup),
            watched("decisions", context.decisions.run_once, DECISIONS_SECONDS),
            watched("retention", Retention(context).run_once, RETENTION_SECONDS),
        ]

    def use_policy(self, policy: Policy) -> None:
        """Let it decide about whatever comes in from now on."""
        self.context.policy = self.context.policy.replaced(policy, self.context.clock.now())

    def keep_policy(self, problem: str) -> None:
        """Go on with the present policy, and show why."""
        self.context.policy = self.context.policy.kept(problem)

    async def _log_end(self, task_id: str, attempt: int, lines: int) -> str:
        return await log_texts.end_of(self.context, self.relay, self.streams, task_id, attempt, lines)

    async def _start_over(self) -> None:
        """Learn the store anew, and have the workers tell anew what they hold."""
        _log.warning("this master's record has gone from the store: everything is read again")
        self.context.cluster_id = await self.context.store.cluster_id()
        await self.context.credentials.load()
        await self.context.learn_task_key()
        await self._changes.start_over()
        await self.context.alerts.learn()
        await self.context.queues.start_over()
        for connected in self.sessions.all():
            connected.close("the store may have been restored from a backup")

    async def start(self, host: str, port: int, ssl_context: SSLContext | None = None) -> int:
        """Return the port that was bound. Raises ConfigurationError, StoreUnavailable."""
        self._door = Door({"": self}, host, port, ssl_context)
        return await self._door.open()

    async def prepare(self) -> web.AppRunner:
        """Return what answers requests, before anything is read or written."""
        runner = web.AppRunner(
            application(self),
            shutdown_timeout=SHUTDOWN_SECONDS,
            handler_cancellation=True,  # who has gone waits for nothing any more
        )
        await runner.setup()
        return runner

    def begin(self) -> None:
        """Do all that a master does by itself, until `stop`."""
        self.run_loops()
        sampling = Loop("sampler", self.sampler.run_once, LOOK_SECONDS)
        self._running.append(asyncio.create_task(sampling.run(), name=sampling.name))

    async def join(self) -> None:
        """Open the store, be known there, and know what it holds.

        Raises ConfigurationError if other masters there count with another lease, StoreUnavailable.
        """
        context = self.context
        await context.store.open()
        context.cluster_id = await context.store.cluster_id()
        await context.credentials.load()
        await context.learn_task_key()
        await check_lease(context)
        await context.store.register_master(context.record())
        self._registered = True
        await self._changes.start()
        await context.alerts.learn()
        await context.queues.learn()
        if context.options.queues:
            await context.store.queues.declare(context.options.queues)
        await self._first_election()

    def check_reach(self, host: str) -> None:
        """Raise ConfigurationError if others could reach a master that asks nobody for a token."""
        if self.context.credentials.is_open and not is_loopback(host):
            raise ConfigurationError(NEEDS_TOKEN.format(host=host))

    def run_loops(self) -> None:
        """Begin to work; `stop` ends it."""
        listening = self.context.store.listen(self._changes.wakeup.set, self._called, self._inbox.wakeup.set)
        self._running = [asyncio.create_task(loop.run(), name=loop.name) for loop in self._loops]
        self._running.append(asyncio.create_task(listening))

    def _called(self) -> None:
        """Another master left a message, the leadership, or said something of a token, rule, node, queue …"""
        self._tokens_due.set()
        self._relay_due.set()
        self._peers_due.set()
        self._election_due.set()
        self._rules_due.set()
        self._queues_due.set()
        self._schedules.changed()

    async def _first_election(self) -> None:
        """Lead from the first request on if nobody else does; what fails here is tried again soon."""
        try:
            await self._election.run_once()
        except PodlingError as error:
            _log.warning("election: %s", error.message)

    async def stop(self) -> None:
        """End what `start` or `join` began."""
        await (self._door or Door({"": self}, "", 0)).close()

    async def leave(self) -> None:
        """Lead no more, and let go of whatever lasts: what is short may still be answered."""
        await self._resign()
        for connected in self.sessions.all():
            connected.close("the master is stopping")
        self.streams.end_all()
        self.admission.stop()

    async def finish(self) -> None:
        """Write what was accepted, and close the store; nobody can ask any more."""
        await self.context.committer.drain()
        await self.audit.hurry()
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._alerts.close()
        await self.office.close()
        if self._registered:
            await self._keep_decisions()
            await self._sign_off()
        await self.context.store.close()

    async def _resign(self) -> None:
        """Let another master lead at once: what is still in hand here may take a while."""
        for running in self._running:
            if running.get_name() == "election":
                running.cancel()
                await asyncio.wait([running])
        try:
            async with asyncio.timeout(self._election.interval_seconds):
                await self._election.resign()
        except (PodlingError, TimeoutError) as error:
            _log.warning("could not resign, the others wait for the lease's end: %s", error)

    async def _keep_decisions(self) -> None:
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await self.context.decisions.run_once()
        except (PodlingError, TimeoutError) as error:
            _log.warning("the last refusals could not be written down: %s", error)

    async def _sign_off(self) -> None:
        try:
            await self.context.store.remove_master(self.context.options.master_id)
        except PodlingError as error:
            _log.warning("could not sign off from the store: %s", error.message)


def application(server: MasterServer) -> web.Application:
    """Return the routes with their middleware."""
    routes, context = _routes(), server.context
    access = Access(
        routes,
        context.credentials,
        server.audit,
        context.clock,
        context.refusals,
        partial(check_live, context),
        wants_certificates=context.options.wants_certificates,
    )
    middlewares = [arrived, counted, errors, server.admission.admit, access.middleware()]
    app = web.Application(middlewares=middlewares, client_max_size=MOST_BODY_BYTES)
    app[CONTEXT] = server.context
    app[SESSIONS] = server.sessions
    app[STREAMS] = server.streams
    app[RELAY] = server.relay
    app[BEATS] = server.beats
    app[SAMPLER] = server.sampler
    app[OFFICE] = server.office
    app[FACTS] = FactsTable()
    app[AUDIT] = server.audit
    app[ADMISSION] = server.admission
    app[CONTRACT] = openapi.Contract(routes, context.options.version)
    app.add_routes(route.definition() for route in routes)
    return app


def _routes() -> list[Route]:
    parts = (
        tasks,
        parents,
        workflows,
        nodes,
        logs,
        session,
        cluster,
        doctor,
        openapi,
        tokens,
        dead_letters,
        decisions,
        join,
        alerts,
        schedules,
        coordination,
        checkpoints,
        events,
        metrics,
        queues,
    )
    return [route for part in parts for route in part.routes()]
