"""What a worker's agent wants done. See `podling.core.agent`."""

from podling.core.agent_events import Notes, Seen, Timer
from podling.core.protocol import Assignment, AttemptKey, Report
from podling.core.value import value


@value
class WriteIntent:
    """Answered by IntentWritten once it is on disk, or IntentFailed."""

    assignment: Assignment


@value
class WriteNotes:
    """Rides along with the next write; answered by Noted or NotNoted."""

    key: AttemptKey
    notes: Notes
    urgent: bool = False


@value
class WriteExit:
    """Answered by ExitWritten once it is on disk, or ExitNotWritten."""

    key: AttemptKey
    final: Report


@value
class Prepare:
    """Answered by Prepared or PrepareFailed; if it `starts` it in the same go, by what answers Start."""

    key: AttemptKey
    container: str
    starts: bool = False


@value
class Start:
    """Answered by Started or StartFailed; `again` starts a container after its exit."""

    key: AttemptKey
    container: str
    container_id: str
    again: bool = False


@value
class Stop:
    """The end is told by Exited; StopFailed if the runtime did not take it. Grace 0 kills."""

    key: AttemptKey
    container: str
    container_id: str
    signal: str | None
    grace_seconds: float


@value
class Look:
    """Answered by Looked or LookFailed."""

    key: AttemptKey


@value
class SaveLogs:
    """Answered by LogsSaved."""

    key: AttemptKey


@value
class Send:
    """There is something new in the outbox."""


@value
class Remove:
    """Answered by Removed or RemoveFailed."""

    key: AttemptKey
    container_ids: tuple[str, ...]


@value
class Discard:
    """Remove a container that nobody knows; not answered, a later sweep tries again."""

    seen: Seen


@value
class Forget:
    """The attempt is over and acknowledged; its journal row may shrink to its number."""

    key: AttemptKey


@value
class SetTimer:
    timer: Timer
    at: float


Instruction = (
    WriteIntent
    | WriteNotes
    | WriteExit
    | Prepare
    | Start
    | Stop
    | Look
    | SaveLogs
    | Send
    | Remove
    | Discard
    | Forget
    | SetTimer
)
