"""What every operation, loop and session of one master shares."""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from podling.coordination.coordination import Coordination
from podling.core.alert_policy import AlertPermissions
from podling.core.permissions import Policy
from podling.core.registries import Registries
from podling.core.spec import RetryPolicy
from podling.core.task_credential import KEY_BITS
from podling.core.traffic import Traffic
from podling.core.view import View
from podling.kit.clock import Clock
from podling.kit.ids import new_id
from podling.kit.wakeup import Wakeup
from podling.master.alerts.book import AlertBook
from podling.master.alerts.mail import MailServer
from podling.master.committer import Applied, Committer
from podling.master.credentials import Credentials
from podling.master.decisions import DecisionLog
from podling.master.event_log import EventLog
from podling.master.feed import Feed
from podling.master.measured_store import measured
from podling.master.measures import Measures
from podling.master.node_rows import NodeRows
from podling.master.policy import PolicyInForce
from podling.master.queue_counts import QueueCounts
from podling.master.queues import QueueBook
from podling.master.refusals import Refusals
from podling.master.submit_rates import SubmitRates
from podling.master.tally import Tally
from podling.master.task_log import log_moves
from podling.store.base import Master, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOptions:
    """Where alerts may go, and how often one is tried: by default for about two hours.

    `commands` are the words of each, by name.
    """

    hosts: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mail: MailServer | None = None
    retry: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(base_seconds=5, factor=3, max_seconds=1800, jitter=0.2)
    )
    most_tries: int = 10

    def permissions(self) -> AlertPermissions:
        return AlertPermissions(
            hosts=self.hosts,
            recipients=self.recipients,
            commands=frozenset(self.commands),
            has_mail=self.mail is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterOptions:
    """What the operator decided; read once by boot."""

    advertise_url: str
    identity: str  # outlives restarts; who holds it may lead again at once
    master_id: str  # new at every start
    version: str
    lease_seconds: float = 12.0
    poll_seconds: float = 1.0
    reader_seconds: float = 20.0  # a reader of events that takes nothing for so long is cut off
    keep_ended: timedelta = timedelta(days=30)
    token: str | None = None
    allow_simulated: bool = False
    policy: Policy = field(default_factory=Policy)
    policy_source: str | None = None
    alerts: AlertOptions = field(default_factory=AlertOptions)
    queues: tuple[str, ...] = ()  # are there from the start
    directories: Mapping[str, Path] = field(default_factory=dict)  # what a full disk would end
    authority: str | None = None  # who signed this master's certificate, in PEM, as far as it knows
    wants_certificates: bool = False  # from workers
    log_tasks: bool = False  # every move of one


@dataclass(frozen=True, slots=True)
class KnownMaster:
    """What this master has seen of one on record (itself too), by its own clock."""

    counter: int
    grown_at: float  # when its counter was last seen to have grown
    alive: bool = True
    has_grown: bool = False  # under this master's eyes: until then it may be the record of a dead one


@dataclass(slots=True, kw_only=True)
class MasterContext:
    """The parts are made once by `build` and live as long as the master."""

    options: MasterOptions
    store: Store
    clock: Clock
    view: View
    feed: Feed
    events: EventLog
    measures: Measures
    tally: Tally
    queue_counts: QueueCounts
    committer: Committer
    credentials: Credentials
    alerts: AlertBook
    node_rows: NodeRows
    decisions: DecisionLog
    refusals: Refusals
    policy: PolicyInForce
    queues: QueueBook
    coordination: Coordination
    submit_rates: SubmitRates
    draw: Callable[[], float]
    draw_bits: Callable[[int], int]
    cluster_id: str = ""
    epoch: int | None = None
    registries: Registries = field(default_factory=Registries)  # of images, as the leader saw them
    traffic: Traffic = field(default_factory=Traffic)  # of the queues, as the leader's scheduler saw it
    full_for: frozenset[str] = frozenset()  # shapes that fit nowhere now, as the leader's scheduler found
    other_masters: tuple[str, ...] = ()  # where those can be reached that are alive
    masters: Mapping[str, KnownMaster] = field(default_factory=dict)
    when_leading: list[Wakeup] = field(default_factory=list)
    node_listeners: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        return self.epoch is not None

    def new_id(self) -> str:
        """Return an identifier that nobody has used, for a task or a node."""
        return new_id(self.clock.now(), self.draw_bits)

    async def learn_task_key(self) -> None:
        """Know the credentials of attempts, or begin to give them. Raises StoreUnavailable."""
        candidate = self.draw_bits(KEY_BITS).to_bytes(KEY_BITS // 8, "big")
        self.credentials.use_task_key(await self.store.task_keys.shared(candidate))

    def master_urls(self) -> tuple[str, ...]:
        """Return where masters can be reached, this one first."""
        return (self.options.advertise_url, *self.other_masters)

    def record(self) -> Master:
        """Return what the store keeps of this master."""
        return Master(
            master_id=self.options.master_id,
            advertise_url=self.options.advertise_url,
            version=self.options.version,
            identity=self.options.identity,
            lease_seconds=self.options.lease_seconds,
        )

    def node_changed(self, node_id: str) -> None:
        """Tell those who listen that the view knows something new about the node."""
        for listener in self.node_listeners:
            listener(node_id)

    def lead(self, epoch: int | None) -> None:
        """Become the leader of this epoch, or stop being one."""
        self.epoch = epoch
        self.full_for = frozenset()
        self.committer.lead(epoch)
        for wakeup in self.when_leading:
            wakeup.set()


def build(
    options: MasterOptions,
    store: Store,
    clock: Clock,
    draw: Callable[[], float] = random.random,
    draw_bits: Callable[[int], int] = secrets.randbits,
) -> MasterContext:
    """Join the parts. Nothing is started and the store is not opened."""
    measures = Measures()
    store = measured(store, measures)
    view = View()
    feed = Feed(view)
    alerts = AlertBook(store, view, feed)
    events = EventLog(store)
    feed.listen(events.remember)
    tally = Tally(store, view, lambda: committer.is_writing)
    queue_counts = QueueCounts()

    def publish(applied: Sequence[Applied]) -> None:
        feed.publish([change for change in applied if not change.overtaken])
        tally.committed(applied)
        measures.committed(applied)
        queue_counts.committed(applied)
        if options.log_tasks:
            log_moves(applied)

    committer = Committer(store, clock, draw, options.master_id, view.task, publish, alerts.about)
    return MasterContext(
        options=options,
        store=store,
        clock=clock,
        view=view,
        feed=feed,
        events=events,
        measures=measures,
        tally=tally,
        queue_counts=queue_counts,
        committer=committer,
        credentials=Credentials(store.tokens, clock, options.token),
        alerts=alerts,
        node_rows=NodeRows(store, view, committer.tell),
        decisions=DecisionLog(store, clock),
        refusals=Refusals(view, clock),
        policy=PolicyInForce(policy=options.policy, source=options.policy_source, loaded_at=clock.now()),
        queues=QueueBook(store.queues),
        coordination=Coordination(store.coordination),
        submit_rates=SubmitRates(store, clock),
        draw=draw,
        draw_bits=draw_bits,
    )
