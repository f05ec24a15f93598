"""What a worker's agent is told. See `podling.core.agent`."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from podling.core.protocol import Assignment, AttemptKey, Report, ReportOutcome, StopOrder
from podling.core.task import HealthStatus, StopReason
from podling.core.value import value


@value
class Moment:
    """When something happened: `monotonic` seconds for durations, the wall clock for display."""

    monotonic: float
    wall: datetime


class Condition(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@value
class Seen:
    """A container as its runtime has it. An `exit_code` of None means that nobody can know it."""

    task_id: str
    attempt: int
    container_name: str
    container_id: str
    condition: Condition
    image_digest: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    health: HealthStatus = HealthStatus.UNKNOWN
    is_silent: bool = False  # it has ended, and is known to have written nothing

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(task_id=self.task_id, attempt=self.attempt)


@value
class NotedContainer:
    name: str
    container_id: str
    restart_count: int = 0


@value
class Notes:
    """What the journal keeps of an attempt between its intent and its end."""

    containers: tuple[NotedContainer, ...] = ()
    running_since: float | None = None  # monotonic; counts for the timeout
    stopped_by: StopReason | None = None
    acknowledged: bool = False
    logs_saved: bool = False


@value
class JournalRow:
    """One attempt in the journal. `final` is its durable end; a row that is `done` only guards its number."""

    key: AttemptKey
    assignment: Assignment | None
    notes: Notes = Notes()
    final: Report | None = None
    done: bool = False


class TimerKind(StrEnum):
    TIMEOUT = "timeout"
    RESTART = "restart"
    LOOK = "look"  # ask the runtime again after it did not answer
    NOTE = "note"  # write notes, or below the end, again after the disk refused them
    RECORD = "record"
    REMOVE = "remove"
    LEASE_STOP = "lease_stop"
    LEASE_KILL = "lease_kill"


@value
class Timer:
    """A timer's name: setting it again replaces the older one."""

    kind: TimerKind
    key: AttemptKey | None = None
    container: str | None = None


# Events


@value
class Restored:
    """The first event: what the journal and the runtimes have. `lease_sent_at` is None if unknown."""

    rows: tuple[JournalRow, ...]
    seen: tuple[Seen, ...]
    lease_seconds: float | None = None
    lease_sent_at: float | None = None


@value
class LeaseRenewed:
    """A master acknowledged what was sent at `sent_at` (monotonic)."""

    sent_at: float
    lease_seconds: float


@value
class Assigned:
    items: tuple[Assignment, ...]


@value
class StopOrdered:
    items: tuple[StopOrder, ...]


@value
class Reconciled:
    """The master's verdict over everything that is held; what it does not name is to be kept."""

    assign: tuple[Assignment, ...] = ()
    stop: tuple[StopOrder, ...] = ()
    forget: tuple[AttemptKey, ...] = ()


@value
class Acknowledged:
    outcomes: Mapping[int, ReportOutcome]


@value
class IntentWritten:
    key: AttemptKey


@value
class IntentFailed:
    key: AttemptKey
    error: str


@value
class Noted:
    key: AttemptKey
    notes: Notes


@value
class NotNoted:
    """The disk refused a note; it is written again later."""

    key: AttemptKey


@value
class ExitWritten:
    key: AttemptKey


@value
class ExitNotWritten:
    """The disk refused the end; it is kept and written again later."""

    key: AttemptKey


@value
class Prepared:
    key: AttemptKey
    container: str
    seen: Seen


@value
class PrepareFailed:
    key: AttemptKey
    container: str
    error_code: str
    error: str


@value
class Started:
    key: AttemptKey
    container: str
    seen: Seen


@value
class StartFailed:
    key: AttemptKey
    container: str
    error_code: str
    error: str


@value
class StopFailed:
    key: AttemptKey
    container: str


@value
class Exited:
    """The runtime tells of an end; it may tell it twice."""

    seen: Seen


@value
class HealthTold:
    """The image's own health check has come to another result."""

    seen: Seen


@value
class Vanished:
    """A container was removed behind Podling's back."""

    key: AttemptKey
    container: str


@value
class Looked:
    """Answers Look: the attempt's containers as they are."""

    key: AttemptKey
    seen: tuple[Seen, ...]


@value
class LookFailed:
    key: AttemptKey


@value
class Swept:
    """Everything of this cluster and node that the runtimes have, to find what nobody knows."""

    seen: tuple[Seen, ...]


@value
class LogsSaved:
    key: AttemptKey


@value
class Removed:
    key: AttemptKey


@value
class RemoveFailed:
    key: AttemptKey


@value
class TimerFired:
    timer: Timer


@value
class Draining:
    """From now on nothing is started; what was not started yet is sent back."""

    reason: str


@value
class NodeDrained:
    """A master says that nothing is to be started on this node, or (None) that this is over."""

    reason: str | None


Event = (
    Restored
    | LeaseRenewed
    | Assigned
    | StopOrdered
    | Reconciled
    | Acknowledged
    | IntentWritten
    | IntentFailed
    | Noted
    | NotNoted
    | ExitWritten
    | ExitNotWritten
    | Prepared
    | PrepareFailed
    | Started
    | StartFailed
    | StopFailed
    | Exited
    | HealthTold
    | Vanished
    | Looked
    | LookFailed
    | Swept
    | LogsSaved
    | Removed
    | RemoveFailed
    | TimerFired
    | Draining
    | NodeDrained
)
