"""The sessions of this master: who is connected, and what the feed has to tell them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from podling.core.errors import Conflict, InvalidInput
from podling.core.node import Node, NodeStatus
from podling.core.policy import validate_node_registration
from podling.core.protocol import (
    OLDEST_PROTOCOL_VERSION,
    PROTOCOL_VERSION,
    SPOKEN_VERSIONS,
    Assignment,
    StopOrder,
)
from podling.core.task import StopReason, Task, TaskStatus
from podling.kit.rounds import Rounds
from podling.master.committer import Applied
from podling.master.context import MasterContext
from podling.master.sessions.reconcile import assignment_of, reconcile, stop_order_of
from podling.master.sessions.session import Session
from podling.wire.session import Assign, Desired, Drain, Hello, MastersKnown, Stop, Welcome

_log = logging.getLogger(__name__)

MOST_PER_ROUND = 20
"""Messages that are written, and as many that are read, in one round of the event loop: a hundred workers get
their assignments out of one commit, and what they tell of them arrives together.
"""

REPLACED = "a newer session of this node has begun"
DRAINED = "the node is drained"
REMOVED = "the node was removed from the list"
TWIN = "another worker with this node id has connected"
LONGEST_TEXT = 500


class Sessions:
    """`node_changed` is called after a node came, went or changed what it offers."""

    def __init__(self, context: MasterContext, node_changed: Callable[[str], None]) -> None:
        self._context = context
        self._node_changed = node_changed
        self._by_node: dict[str, Session] = {}
        self.reading, self.writing = Rounds(MOST_PER_ROUND), Rounds(MOST_PER_ROUND)
        self._ousted: dict[str, str] = {}  # by node, the start that another one has taken over from
        context.feed.listen(self._deliver)
        context.node_listeners += [self._drop_removed, self._tell_drain]

    def get(self, node_id: str) -> Session | None:
        return self._by_node.get(node_id)

    def all(self) -> Sequence[Session]:
        return tuple(self._by_node.values())

    async def open(self, node_id: str, hello: Hello) -> tuple[Session, Welcome]:
        """Admit a worker: number its session, end the older one, compare what it holds."""
        _check(hello)
        self._refuse_twin(node_id, hello.instance)
        known, session = await self._begin(node_id, hello)
        try:
            desired = await self._compare(node_id, hello, known)
        except BaseException:
            self.forget(session)
            raise
        self._node_changed(node_id)
        _log.info("node %s (%s) is online, session %d", node_id, hello.hostname, session.session_no)
        return session, Welcome(
            session_no=session.session_no,
            cluster_id=self._context.cluster_id,
            lease_seconds=self._context.options.lease_seconds,
            masters=self._context.master_urls(),
            desired=desired,
        )

    async def _compare(self, node_id: str, hello: Hello, known: Node | None) -> Desired:
        if hello.beats_only:
            return Desired()  # what its runtimes have, and what became of it, its next hello says
        return await reconcile(
            self._context,
            node_id,
            hello.held,
            starts_afresh=hello.starts_afresh,
            restarted=known is not None and known.instance not in (None, hello.instance),
        )

    async def _begin(self, node_id: str, hello: Hello) -> tuple[Node | None, Session]:
        """Return the node as it was, and its new session."""
        context = self._context
        async with context.node_rows.turn(node_id):
            known = await context.store.load_node(node_id)
            number = await context.store.open_session(_node_from(node_id, hello, known, context))
            await context.node_rows.show(node_id)
            session = Session(node_id, number, hello.instance, hello.protocol_version)
            self._replace(session)
            return known, session

    def tell_masters(self) -> None:
        """Tell workers where masters can be reached now."""
        for session in self._by_node.values():
            if session.goes_to_masters:
                session.send(MastersKnown(masters=self._context.master_urls()))

    def _replace(self, session: Session) -> None:
        """End the node's older session: the one that was here before, whatever its number is.

        Sessions of a node that was removed are counted anew.
        """
        known = self._by_node.get(session.node_id)
        self._by_node[session.node_id] = session
        if known is not None:
            if known.instance != session.instance:
                self._ousted[session.node_id] = known.instance
            known.close(REPLACED)

    def _refuse_twin(self, node_id: str, instance: str) -> None:
        """Send a worker away for good that comes back after another start of its node has taken over.

        Nobody is sent away for a hello alone: it may be the last word of a start that is dead.
        """
        current = self._by_node.get(node_id)
        if current is None or current.closing or current.instance == instance:
            return
        if current.has_beaten and self._ousted.get(node_id) == instance:
            raise InvalidInput(TWIN, code="twin")

    def forget(self, session: Session) -> None:
        """Drop a session whose connection has ended; the node monitor decides about the node."""
        if self._by_node.get(session.node_id) is session:
            del self._by_node[session.node_id]

    def is_current(self, session: Session) -> bool:
        return self._by_node.get(session.node_id) is session

    async def note_health(self, session: Session, unhealthy: str | None) -> None:
        """Keep what a beat says about the node's runtime."""
        unhealthy = shorten(unhealthy)
        node = self._context.view.node(session.node_id)
        if node is not None and node.unhealthy != unhealthy:
            await self._change(session, lambda node: replace(node, unhealthy=unhealthy))

    async def leave(self, session: Session, reason: str) -> None:
        """The worker was stopped, and says so: its node is offline without being lost.

        What runs there goes on; the node monitor waits for it as long as for a silent one.
        """
        stopped = f"its worker was stopped: {shorten(reason)}"
        offline = NodeStatus.OFFLINE
        if await self._change(session, lambda node: replace(node, status=offline, lost_reason=stopped)):
            _log.info("node %s is offline: %s", session.node_id, stopped)

    async def _change(self, session: Session, change: Callable[[Node], Node]) -> bool:
        """Write what `change` makes of the session's node; False if it has another session by now."""
        rows = self._context.node_rows
        async with rows.turn(session.node_id):
            node = self._context.view.node(session.node_id)
            if node is None or node.session_no != session.session_no or not self.is_current(session):
                return False
            if not await rows.save(change(node), session.session_no):
                return False
        self._node_changed(session.node_id)
        return True

    def _drop_removed(self, node_id: str) -> None:
        """End the session of a node that was taken off the list: nothing it says counts any more."""
        session = self._by_node.get(node_id)
        if session is not None and self._context.view.node(node_id) is None:
            session.close(REMOVED)
            self.forget(session)

    def _tell_drain(self, node_id: str) -> None:
        """Tell the node's worker what an operator has said, if it does not know."""
        session, node = self._by_node.get(node_id), self._context.view.node(node_id)
        if session is None or node is None or session.drained == (node.drain is not None):
            return
        session.drained = node.drain is not None
        session.send(Drain(reason=DRAINED if session.drained else None))

    def _deliver(self, applied: Sequence[Applied]) -> None:
        assignments: dict[str, list[Assignment]] = defaultdict(list)
        stops: dict[str, list[StopOrder]] = defaultdict(list)
        for change in applied:
            task, before = change.after, change.before
            if _newly_assigned(before, task):
                assert task.node_id is not None
                assignments[task.node_id].append(assignment_of(task))
                if order := stop_order_of(task):
                    stops[task.node_id].append(order)
            elif order := _stop_order(change):
                node_id = (before or task).node_id
                assert node_id is not None
                stops[node_id].append(order)
        for node_id, orders in stops.items():
            if session := self._by_node.get(node_id):
                session.send(Stop(items=tuple(orders)))
        for node_id, items in assignments.items():
            if session := self._by_node.get(node_id):
                session.send(Assign(items=tuple(items)))


def _newly_assigned(before: Task | None, task: Task) -> bool:
    if task.status is not TaskStatus.SCHEDULED:
        return False
    return before is None or before.attempt != task.attempt


def _stop_order(change: Applied) -> StopOrder | None:
    """Return the order that a change means for the attempt that was live before it, if any."""
    before, task = change.before, change.after
    if before is None:
        return stop_order_of(task) if task.status.is_live else None
    if not before.status.is_live:
        return None
    if task.status.is_live and task.attempt == before.attempt:
        return stop_order_of(task) if before.stop_reason is None else None
    if change.from_worker:
        return None  # it has ended, and its worker knows
    return StopOrder(task_id=task.task_id, attempt=before.attempt, reason=StopReason.STALE)


def shorten(text: str | None) -> str | None:
    """Return what a worker says of itself, cut to a bearable length."""
    return text if text is None else text[:LONGEST_TEXT]


def _check(hello: Hello) -> None:
    if hello.protocol_version not in SPOKEN_VERSIONS:
        raise Conflict(
            f"the worker speaks protocol {hello.protocol_version}, this master"
            f" {OLDEST_PROTOCOL_VERSION} and {PROTOCOL_VERSION}: upgrade the older of the two",
            code="protocol_version",
        )
    validate_node_registration(
        hello.hostname, hello.port, hello.capacity, hello.allocatable, hello.labels, hello.runtimes
    )


def _instance(hello: Hello, known: Node | None) -> str | None:
    """Return the start that has told last what it holds."""
    if hello.beats_only:
        return known.instance if known else None
    return shorten(hello.instance)


def _node_from(node_id: str, hello: Hello, known: Node | None, context: MasterContext) -> Node:
    now = context.clock.now()
    return Node(
        node_id=node_id,
        hostname=hello.hostname,
        port=hello.port,
        status=NodeStatus.ONLINE,
        capacity=hello.capacity,
        allocatable=hello.allocatable,
        labels=hello.labels,
        runtimes=hello.runtimes,
        registered_at=known.registered_at if known else now,
        last_heartbeat=now,
        master_id=context.options.master_id,
        cordoned=known.cordoned if known else False,
        drain=known.drain if known else None,
        unhealthy=shorten(hello.unhealthy),
        version=shorten(hello.version),
        instance=_instance(hello, known),
    )
