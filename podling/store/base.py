"""The port: what a master needs of a store. Stores are dumb: load, list, commit.

Every method raises StoreUnavailable when the store cannot be reached in time, and only methods
that take an `epoch` raise StaleEpoch. Nothing here decides what a task may become; see
`podling.core.lifecycle`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from podling.core.facts import ReplicaFacts, StoreFacts
from podling.core.node import Drain, Node, NodeStatus
from podling.core.spec import Constraint
from podling.core.task import Attempt, Task, TaskEvent, TaskStatus
from podling.core.value import value
from podling.store.batch import Batch as Batch
from podling.store.batch import Change as Change
from podling.store.batch import ChangeBatch as ChangeBatch
from podling.store.batch import TaskWrite as TaskWrite
from podling.store.batch import WriteResult as WriteResult
from podling.store.batch import WriteStatus as WriteStatus
from podling.store.ports.alerts import Alerts
from podling.store.ports.audit import Audit
from podling.store.ports.coordination import Coordination
from podling.store.ports.dead_letters import DeadLetters
from podling.store.ports.decisions import Decisions
from podling.store.ports.dependencies import Dependencies
from podling.store.ports.inbox import Inbox
from podling.store.ports.lines import Lines
from podling.store.ports.maintained import Maintained
from podling.store.ports.overdue import Overdue as Overdue
from podling.store.ports.overdue import OverdueKind as OverdueKind
from podling.store.ports.queues import Queues
from podling.store.ports.schedules import Schedules
from podling.store.ports.submit_counts import SubmitCounts
from podling.store.ports.task_keys import TaskKeys
from podling.store.ports.tokens import Tokens
from podling.store.ports.workflows import Workflows


def ignore() -> None:
    """Do nothing about a hint."""


@value
class Master:
    """One start of a master program; its id is new at every start, its identity outlives them all."""

    master_id: str
    advertise_url: str
    version: str
    counter: int = 0
    identity: str = ""
    lease_seconds: float | None = None


@value
class Leadership:
    """Who leads, by identity. `epoch` grows with every takeover, `counter` with every renewal."""

    epoch: int
    holder: str | None
    counter: int


@value
class Snapshot:
    """What a view starts from: loaded in one transaction, with the feed's position in it."""

    nodes: tuple[Node, ...]
    live_tasks: tuple[Task, ...]
    cursors: Mapping[str, int]
    counts: Mapping[TaskStatus, int]  # as of `count_tasks`


@value
class TaskQuery:
    """Filters are joined by and. Newest first by (created_at, task_id); `after` is the last seen."""

    statuses: tuple[TaskStatus, ...] = ()
    queue: str | None = None
    node_id: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    selectors: tuple[Constraint, ...] = ()  # of labels, beyond those that are known exactly
    kind: str | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 500
    fresh: bool = False  # not from a replica, which may be a little behind


@value
class LogTail:
    """The newest frames (see `core.logrecord`) of an attempt's output and the bytes before them."""

    task_id: str
    attempt: int
    frames: bytes
    dropped_bytes: int = 0
    final: bool = False  # nothing will follow


class Beat(NamedTuple):
    """A node's row in the narrow table. `counter` grows while its worker lives; `lost` is the mark.

    A tuple, since the leader reads those of all nodes every second.
    """

    node_id: str
    session_no: int
    counter: int
    at: datetime
    lost: bool = False


@value
class PendingCounts:
    """Pending tasks: that could start, whose shape fits nowhere, in a line, and whose time has not come."""

    ready: int = 0
    blocked: int = 0
    lined: int = 0
    later: int = 0


@value
class PeerMessage:
    """What one master leaves for another, by id. It is read once, or lost: whoever waits has a deadline."""

    recipient: str
    body: str


class Store(Protocol):
    """See the module. Ids in arguments may be unknown; look-ups then leave them out."""

    kind: str  # memory or postgres
    tokens: Tokens
    audit: Audit
    decisions: Decisions
    coordination: Coordination
    alerts: Alerts
    queues: Queues
    dead_letters: DeadLetters
    dependencies: Dependencies
    schedules: Schedules
    inbox: Inbox
    lines: Lines
    submit_counts: SubmitCounts
    task_keys: TaskKeys
    workflows: Workflows

    @property
    def replica(self) -> ReplicaFacts | None: ...

    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises ConfigurationError with the way out."""

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """Prove that a transaction can be made now."""

    async def diagnose(self, now: datetime) -> StoreFacts:
        """Return what a doctor wants to know; for a person who asks, not for a loop."""

    async def suspects(self, scheduled_before: datetime, limit: int) -> Sequence[Task]:
        """Return live tasks that may be stuck, oldest first: held, without their node, long `scheduled`."""

    async def cluster_id(self) -> str:
        """Return the name that all masters of this store share; made with the store."""

    # Masters and leadership

    async def register_master(self, master: Master) -> None: ...

    async def beat_master(self, master_id: str) -> Sequence[Master]:
        """Raise the master's counter; return all masters on record with their counters."""

    async def load_masters(self) -> Sequence[Master]:
        """Return all masters on record, oldest registration first."""

    async def remove_master(self, master_id: str) -> None: ...

    async def post(self, messages: Sequence[PeerMessage]) -> None:
        """Leave messages for masters; what nobody takes is removed by `maintain`, or with its recipient."""

    async def take_messages(self, master_id: str) -> Sequence[str]:
        """Remove and return what was left for this master, oldest first."""

    async def leadership(self) -> Leadership: ...

    async def take_leadership(self, master_id: str, seen: Leadership) -> int | None:
        """Become leader if the record still is as `seen`; return the new epoch, None if not."""

    async def renew_leadership(self, master_id: str, epoch: int) -> bool: ...

    async def resign_leadership(self, master_id: str, epoch: int) -> None: ...

    # Tasks

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        """Write the batch in one transaction; each item is applied, or refused by itself.

        Repeating a batch with the same number returns the first answer. A task that is terminal
        after the write leaves the live rows for history.
        """

    async def load_tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]: ...

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]: ...

    async def load_attempts(
        self, task_id: str, after: int = 0, limit: int | None = None
    ) -> Sequence[Attempt]:
        """Return the attempts with a higher number than `after`, oldest first; all without a limit."""

    async def load_events(self, task_id: str) -> Sequence[TaskEvent]:
        """Return the task's events in order of their commit."""

    async def find_events(self, task_ids: Sequence[str], type_: str) -> Sequence[TaskEvent]:
        """Return the events of one type of these tasks, each task's in order of their commit."""

    async def add_events(self, events: Sequence[TaskEvent]) -> None:
        """Append lines that change nothing about their tasks; those of unknown tasks are left out."""

    async def ready_page(self, limit: int, skip_task_ids: Sequence[str] = ()) -> Sequence[Task]:
        """Return due tasks that are not blocked by priority (descending), run_at, created_at, task_id."""

    async def ready_ahead_of(self, task: Task, limit: int) -> int:
        """Count the ready tasks before `task` in claim order, blocked ones left out, up to `limit`."""

    async def promote(self, now: datetime, limit: int) -> int:
        """Make pending tasks whose run_at has come ready; return how many."""

    async def next_run_at(self) -> datetime | None:
        """Return the earliest run_at of a pending task that is not ready yet."""

    async def block(self, task_ids: Sequence[str], epoch: int) -> None:
        """Take pending tasks out of the ready order until their shape is unblocked or they are written."""

    async def unblock(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        """Put the first blocked tasks of each shape back, in claim order, up to the number given.

        Returns how many were found, by shape, if any; fewer than asked for means that there are no more.
        """

    async def blocked_shapes(self) -> Sequence[Task]:
        """Return of every shape that has blocked tasks, in no line, the first of them."""

    async def overdue(
        self, now: datetime, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[Overdue]:
        """Return tasks whose queue timeout or deadline has passed and that were not told yet.

        The longest overdue first, by (at, task_id); `after` is the last seen.
        """

    async def next_overdue_at(self) -> datetime | None: ...

    async def count_tasks(self) -> Mapping[TaskStatus, int]:
        """Count live tasks exactly, pending and ended ones as far as it is cheap."""

    async def count_pending(self, limit: int) -> PendingCounts:
        """Count pending tasks, up to `limit` of each kind."""

    # The view and its feed

    async def snapshot(self) -> Snapshot: ...

    async def changes_after(self, cursors: Mapping[str, int], limit: int) -> Sequence[ChangeBatch]:
        """Return what masters committed after the cursors: each master's, and each task's, in order."""

    async def changes_kept(self) -> Mapping[str, tuple[int, int]]:
        """Return the oldest and newest number of every master's changes that can still be read.

        The newest is remembered when all others have been removed, and of masters long gone too.
        """

    async def listen(
        self,
        on_hint: Callable[[], None],
        on_call: Callable[[], None] = ignore,
        on_inbox: Callable[[], None] = ignore,
    ) -> None:
        """Call `on_hint` when other masters may have committed. Runs until it is cancelled.

        `on_call` is called when a message may have come, nobody may lead any more, or something was said of
        a node, queue, token, rule or schedule, `on_inbox` when something may lie in the inbox. Hints may be
        lost; all are called after a connection, too.
        """

    async def maintain(self, keep_ended: timedelta | None = None, seconds: float = 20.0) -> Maintained:
        """Remove what nobody needs any more, and tasks that ended longer ago than `keep_ended`.

        Call it every few minutes from one place; after `seconds` it leaves the rest for another call.
        """

    # Nodes

    async def open_session(self, node: Node) -> int:
        """Insert or replace the node as online; return its new session number. Clears a lost mark.

        What an operator has said about a known node (`cordoned`, `drain`) stays, here and below.
        """

    async def save_node(self, node: Node, expected_session_no: int | None = None) -> bool:
        """Replace (or insert) the node; False if its session number is no longer the expected one.

        An online node without sessions (`session_no` 0) loses its lost mark, and its counter grows.
        """

    async def set_service(self, node_id: str, *, cordoned: bool, drain: Drain | None) -> Node | None:
        """Keep what an operator says about the node; return it as it is now, None if it is unknown."""

    async def load_node(self, node_id: str) -> Node | None: ...

    async def load_nodes(
        self, status: NodeStatus | None = None, node_ids: Collection[str] | None = None
    ) -> Sequence[Node]:
        """Return nodes, newest registration first; those of `node_ids` alone, if they are given."""

    async def node_versions(self) -> Mapping[str, int]:
        """Return a number for every node, another one after each write of it; beats do not count."""

    async def remove_node(self, node_id: str) -> bool: ...

    async def beat(self, sessions: Mapping[str, int], now: datetime) -> frozenset[str]:
        """Raise the counters of these nodes (node id: session number) in one write.

        Returns the ids that counted: a node marked lost, or with a newer session, is left out.
        """

    async def load_beats(self) -> Sequence[Beat]: ...

    async def mark_lost(self, node_id: str, seen_counter: int, epoch: int) -> bool:
        """Mark the node lost if its counter still is `seen_counter`."""

    # Logs

    async def save_tails(self, tails: Sequence[LogTail]) -> None: ...

    async def load_tail(self, task_id: str, attempt: int) -> LogTail | None: ...
