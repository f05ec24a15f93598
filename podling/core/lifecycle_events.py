"""What may happen to a task: the events of the table in `podling.core.lifecycle`."""

from podling.core.protocol import Report
from podling.core.task import Resolution
from podling.core.value import value


@value
class Assign:
    """`attempt`, if given, is the number that the new attempt must get for the plan still to hold."""

    node_id: str
    attempt: int | None = None


@value
class Reported:
    """A worker's report. `node_id` must be the attempt's own node."""

    report: Report
    node_id: str


@value
class Lose:
    attempt: int
    reason: str


@value
class DeclareLost:
    attempt: int
    reason: str


@value
class Evict:
    attempt: int
    reason: str


@value
class Cancel:
    actor: str = "client"
    reason: str = "cancelled on request"


@value
class RetryNow:
    pass


@value
class Resolve:
    """An operator's word on a held attempt.

    `attempt`, if given, is the one that is meant: a later one may be held by now.
    """

    outcome: Resolution
    attempt: int | None = None


@value
class QueueTimeout:
    pass


@value
class Deadline:
    pass


@value
class ParentsMet:
    """`parents` is how many they were."""

    parents: int


@value
class ParentUnmet:
    """`parent_id` is the one that can never meet the condition any more."""

    reason: str
    parent_id: str


@value
class Announce:
    """What the program inside an attempt says of it; None leaves that as it is. `result` is JSON."""

    attempt: int
    progress: float | None = None
    result: str | None = None


@value
class Deny:
    reason: str


Event = (
    Assign
    | Reported
    | Lose
    | DeclareLost
    | Evict
    | Cancel
    | RetryNow
    | Resolve
    | QueueTimeout
    | Deadline
    | ParentsMet
    | ParentUnmet
    | Announce
    | Deny
)
