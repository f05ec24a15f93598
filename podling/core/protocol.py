"""What masters and workers tell each other about attempts; the session carries it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from podling.core.spec import TaskSpec
from podling.core.task import ContainerState, HealthStatus, StopReason
from podling.core.value import value

PROTOCOL_VERSION = 2
"""What this program speaks. 2: a log stream may go to another master, and masters are told of anew."""

OLDEST_PROTOCOL_VERSION = PROTOCOL_VERSION - 1
"""What it still understands, so that a cluster can be upgraded one program after the other."""


SPOKEN_VERSIONS = range(PROTOCOL_VERSION, OLDEST_PROTOCOL_VERSION - 1, -1)
"""Newest first."""


@value
class Assignment:
    """One attempt that a worker shall run. `environment` is added to every container's own."""

    task_id: str
    attempt: int
    spec: TaskSpec
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> "AttemptKey":
        return AttemptKey(task_id=self.task_id, attempt=self.attempt)


@value
class AttemptKey:
    task_id: str
    attempt: int


@value
class StopOrder:
    """Stop this attempt; with the containers' own grace unless `grace_seconds` says otherwise."""

    task_id: str
    attempt: int
    reason: StopReason
    grace_seconds: float | None = None


class ReportKind(StrEnum):
    RUNNING = "running"  # every container has started
    ENDED = "ended"  # the attempt is over, well or not
    REFUSED = "refused"  # sent back before any container was started
    UPDATE = "update"  # restarted, or its health has changed; still running


@value
class Report:
    """What a worker reports about one attempt. `sequence` names it in the acknowledgement.

    An end is well when `error_code` is None. `stopped_by` is the order (or the worker's own reason)
    that the worker had acted on when the attempt ended.
    """

    sequence: int
    task_id: str
    attempt: int
    kind: ReportKind
    at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    stopped_by: StopReason | None = None
    health_status: HealthStatus = HealthStatus.UNKNOWN
    containers: tuple[ContainerState, ...] = ()
    never_started: bool = False


class ReportOutcome(StrEnum):
    """What became of a report. All of them mean: the worker need not send it again."""

    APPLIED = "applied"
    STALE = "stale"  # a newer attempt, or the task had ended: changed nothing
    UNKNOWN = "unknown"  # no such task
    INVALID = "invalid"  # the report contradicts the state; kept as an event, changed nothing


class HeldState(StrEnum):
    """How far a worker has got with an attempt, for its inventory."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"  # and not yet acknowledged


@value
class HeldAttempt:
    task_id: str
    attempt: int
    state: HeldState


class Verdict(StrEnum):
    """The master's answer for each attempt of an inventory."""

    KEEP = "keep"
    STOP = "stop"  # it should not run (any more); stop it and report nothing but its end
    FORGET = "forget"  # acknowledged, or never known: remove what is left of it
