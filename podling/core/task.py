"""A task's state and what is kept about each try at it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from podling.core.spec import TaskSpec
from podling.core.value import value


class TaskStatus(StrEnum):
    PENDING = "pending"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def is_live(self) -> bool:
        """Whether an attempt is on a node."""
        return self in LIVE


TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})
LIVE = frozenset({TaskStatus.SCHEDULED, TaskStatus.RUNNING})


NEVER = datetime.max.replace(tzinfo=UTC)
"""The `run_at` of a task that waits for its parents: no store counts it as ready before they have ended."""


class AttemptStatus(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its node was lost; whether it ended is not known
    REFUSED = "refused"  # the worker sent it back before it started


class StopReason(StrEnum):
    """Why a live attempt has been told to stop."""

    CANCEL = "cancel"
    DEADLINE = "deadline"
    DRAIN = "drain"  # its node is emptied; it goes elsewhere
    TIMEOUT = "timeout"
    DISCONNECT = "disconnect"
    STALE = "stale"  # the store knows a newer attempt, or the task has ended
    RESTART = "restart"


class Resolution(StrEnum):
    """What an operator says became of a held attempt."""

    RETRY = "retry"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class HealthStatus(StrEnum):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class ContainerStatus(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@value
class ContainerState:
    """One container of an attempt, as its worker last reported it."""

    name: str
    status: ContainerStatus = ContainerStatus.WAITING
    container_id: str | None = None
    image_digest: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    error: str | None = None
    restart_count: int = 0


@value
class Attempt:
    """One try at a task on one node. `attempt` counts from 1 and fences everything it reports."""

    task_id: str
    attempt: int
    node_id: str
    status: AttemptStatus
    scheduled_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    retry_at: datetime | None = None  # when the next attempt became due, if one did
    containers: tuple[ContainerState, ...] = ()

    @property
    def container_id(self) -> str | None:
        return self.containers[0].container_id if self.containers else None

    @property
    def image_digest(self) -> str | None:
        return self.containers[0].image_digest if self.containers else None


@value
class Task:
    """The whole state of a task. `version` grows by one with every commit that changes it.

    `failures` counts attempts charged to `max_attempts`, `losses` those charged to `max_losses`.
    The times, the node and the containers are those of the attempt numbered `attempt`. `held` says
    why a task whose node was lost waits for that node or an operator. `progress` (in percent) and
    `result` (JSON) are what the last attempt said of itself. `done_at` is when a statement committed its
    end with its work, of which nobody may have heard yet.
    """

    task_id: str
    spec: TaskSpec
    status: TaskStatus
    version: int
    created_at: datetime
    run_at: datetime
    shape: str
    attempt: int = 0
    node_id: str | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failures: int = 0
    losses: int = 0
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    dead_letter_reason: str | None = None
    stop_reason: StopReason | None = None
    stop_requested_at: datetime | None = None
    held: str | None = None
    health_status: HealthStatus = HealthStatus.UNKNOWN
    containers: tuple[ContainerState, ...] = ()
    progress: float | None = None
    result: str | None = None
    done_at: datetime | None = None

    @property
    def must_end(self) -> bool:
        """Whether no further attempt may follow: it was told to stop for good."""
        return self.stop_reason in (StopReason.CANCEL, StopReason.DEADLINE)

    @property
    def waits_for_parents(self) -> bool:
        """Whether its parents have yet to end as it wants."""
        return self.run_at == NEVER and self.status is TaskStatus.PENDING and bool(self.spec.depends_on)

    @property
    def container_id(self) -> str | None:
        return self.containers[0].container_id if self.containers else None

    @property
    def restart_count(self) -> int:
        return sum(container.restart_count for container in self.containers)


@value
class TaskEvent:
    """A line of the timeline that the task's and attempts' own times do not already tell."""

    task_id: str
    at: datetime
    type: str
    actor: str
    message: str
    attempt: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
