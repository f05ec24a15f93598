"""What a worker holds of one attempt, as facts; `podling.core.agent_advance` decides what follows."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from podling.core.agent_events import NotedContainer, Notes
from podling.core.protocol import Assignment, AttemptKey, HeldState, Report, ReportKind, StopOrder
from podling.core.retry import ErrorCode
from podling.core.spec import ENDS_WITH_WORKER, ContainerSpec, Delivery
from podling.core.task import ContainerState, ContainerStatus, HealthStatus, StopReason
from podling.core.value import changed, value


class Phase(StrEnum):
    """How far a container has got."""

    ABSENT = "absent"
    PREPARING = "preparing"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # ended, and will be started again
    EXITED = "exited"
    FAILED = "failed"  # could not be made or started
    GONE = "gone"  # removed by somebody else


LIVE = frozenset({Phase.STARTING, Phase.RUNNING})
_STATUS = {
    Phase.RUNNING: ContainerStatus.RUNNING,
    Phase.WAITING: ContainerStatus.TERMINATED,
    Phase.EXITED: ContainerStatus.TERMINATED,
    Phase.FAILED: ContainerStatus.TERMINATED,
    Phase.GONE: ContainerStatus.TERMINATED,
}


@value
class HeldContainer:
    """One container. `kill_by` is when the stop that was sent turns into a kill (monotonic)."""

    spec: ContainerSpec
    phase: Phase = Phase.ABSENT
    container_id: str | None = None
    image_digest: str | None = None
    has_run: bool = False
    started_at: datetime | None = None
    started_monotonic: float = 0.0
    finished_at: datetime | None = None
    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    restart_count: int = 0
    quick_exits: int = 0  # ends in a row that count for the backoff
    kill_by: float | None = None
    health: HealthStatus = HealthStatus.UNKNOWN
    is_silent: bool = False  # it has written nothing, so there is no log to be saved
    is_doubtful: bool = False  # the runtime did not answer, so nobody knows whether it runs

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> ContainerState:
        """Return what is reported about it."""
        return ContainerState(
            name=self.name,
            status=_STATUS.get(self.phase, ContainerStatus.WAITING),
            container_id=self.container_id,
            image_digest=self.image_digest,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            error=self.error,
            restart_count=self.restart_count,
        )


@value
class Ending:
    """How the attempt ends, decided once. `is_refusal`: sent back, if nothing has been started."""

    exit_code: int | None = None
    error_code: str | None = None
    error: str | None = None
    stopped_by: StopReason | None = None
    is_refusal: bool = False


@value
class Held:
    """One attempt. `is_confirmed`: a master has said since the worker's start that it is wanted."""

    assignment: Assignment
    containers: tuple[HeldContainer, ...]
    is_confirmed: bool = True
    is_journaled: bool = False  # the intent has been given to the journal
    is_intended: bool = False  # the intent is durable
    order: StopOrder | None = None
    kill_at: float | None = None  # no container runs longer than this (monotonic)
    running_since: float | None = None
    started_at: datetime | None = None
    ending: Ending | None = None
    final: Report | None = None
    is_recorded: bool = False  # the end is durable
    are_logs_saved: bool = False
    is_acknowledged: bool = False
    is_removing: bool = False
    noted: Notes = Notes()
    durable_notes: Notes = Notes()
    reported: tuple[ContainerState, ...] | None = None
    reported_health: HealthStatus = HealthStatus.UNKNOWN
    outstanding: tuple[int, ...] = ()  # its reports in the outbox

    @property
    def key(self) -> AttemptKey:
        return self.assignment.key

    @property
    def has_run(self) -> bool:
        return any(container.has_run for container in self.containers)

    @property
    def may_have_log(self) -> bool:
        return any(container.has_run and not container.is_silent for container in self.containers)

    @property
    def leaves_nothing(self) -> bool:
        """Whether nothing is left on the machine that would have to be removed."""
        return self.ends_with_worker and all(container.is_silent for container in self.containers)

    @property
    def ends_with_worker(self) -> bool:
        return self.assignment.spec.runtime in ENDS_WITH_WORKER

    @property
    def may_run(self) -> bool:
        """Whether a container has been started, or may have been."""
        return self.has_run or any(container.phase in LIVE for container in self.containers)

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it runs or may be running."""
        return not any(container.phase in LIVE for container in self.containers)

    @property
    def starts_once(self) -> bool:
        return self.assignment.spec.delivery is Delivery.AT_MOST_ONCE

    @property
    def state(self) -> HeldState:
        """Return what the inventory says about it."""
        if self.final is not None:
            return HeldState.ENDED if self.is_recorded else HeldState.STOPPING
        if self.ending is not None:
            return HeldState.STOPPING
        return HeldState.RUNNING if self.reported is not None else HeldState.STARTING

    @property
    def notes(self) -> Notes:
        """Return what the journal should know by now."""
        return Notes(
            containers=tuple(
                NotedContainer(
                    name=container.name,
                    container_id=container.container_id,
                    restart_count=container.restart_count,
                )
                for container in self.containers
                if container.container_id is not None
            ),
            running_since=self.running_since if self.assignment.spec.timeout_seconds else None,
            stopped_by=self.order.reason if self.order else None,
            acknowledged=self.is_acknowledged,
            logs_saved=self.are_logs_saved,
        )

    @property
    def health(self) -> HealthStatus:
        """Return the worst of what its containers' checks say; those without one do not count."""
        told = {container.health for container in self.containers}
        worst = (HealthStatus.UNHEALTHY, HealthStatus.HEALTHY)
        return next((health for health in worst if health in told), HealthStatus.UNKNOWN)

    def container(self, name: str) -> HeldContainer | None:
        return next((container for container in self.containers if container.name == name), None)

    def change(self, name: str, change: Callable[[HeldContainer], HeldContainer]) -> "Held":
        """Return the attempt with one of its containers changed."""
        containers = tuple(
            change(container) if container.name == name else container for container in self.containers
        )
        return changed(self, containers=containers)


def new_held(assignment: Assignment) -> Held:
    containers = tuple(HeldContainer(spec=spec) for spec in assignment.spec.containers)
    return Held(assignment=assignment, containers=containers)


def report_of(held: Held, kind: ReportKind, at: datetime) -> Report:
    """Return a report on the attempt as it is; its sequence is given by the outbox."""
    return Report(
        sequence=0,
        task_id=held.key.task_id,
        attempt=held.key.attempt,
        kind=kind,
        at=at,
        started_at=held.started_at,
        health_status=held.health,
        containers=tuple(container.state for container in held.containers),
    )


def final_of(held: Held, ending: Ending, now: datetime) -> Report:
    """Return the report of the attempt's end."""
    never_started = not held.has_run
    refused = ending.is_refusal and never_started
    report = report_of(held, ReportKind.REFUSED if refused else ReportKind.ENDED, now)
    finishes = [container.finished_at for container in held.containers if container.finished_at]
    return changed(
        report,
        finished_at=max(finishes, default=now),
        exit_code=ending.exit_code,
        error_code=ending.error_code,
        error=ending.error,
        stopped_by=ending.stopped_by,
        never_started=never_started,
    )


_STOPPED: dict[StopReason, tuple[ErrorCode | None, str]] = {
    StopReason.CANCEL: (ErrorCode.CANCELLED, "cancelled on request"),
    StopReason.DEADLINE: (ErrorCode.DEADLINE, "stopped because its deadline is over"),
    StopReason.DRAIN: (ErrorCode.DRAINED, "stopped because its node is drained"),
    StopReason.TIMEOUT: (ErrorCode.TIMEOUT, "stopped because it ran longer than timeoutSeconds"),
    StopReason.DISCONNECT: (
        ErrorCode.DISCONNECTED,
        "stopped because the worker's lease ended without an answer of a master",
    ),
    StopReason.STALE: (ErrorCode.DISCONNECTED, "stopped because the master had given this attempt up"),
    StopReason.RESTART: (None, ""),
}


def ending_by_order(held: Held, reason: StopReason) -> Ending:
    """Return how an attempt ends that was told to stop; the exit code follows when it is known."""
    code, error = _STOPPED[reason]
    if reason is StopReason.TIMEOUT:
        error = f"stopped because it ran longer than {held.assignment.spec.timeout_seconds or 0:g} s"
    return Ending(
        error_code=code,
        error=error or None,
        stopped_by=reason,
        is_refusal=reason is StopReason.DISCONNECT,
    )


def failure_of(container: HeldContainer) -> tuple[str, str] | None:
    """Return the error code and the sentence for a container that has ended; None if it ended well."""
    if container.error_code is not None:
        return container.error_code, container.error or container.error_code
    if container.exit_code is None:
        return ErrorCode.UNKNOWN_EXIT, container.error or "nobody saw how it ended"
    if container.exit_code == 0:
        return None
    if 128 < container.exit_code <= 128 + 64:
        return ErrorCode.SIGNAL, f"ended by signal {container.exit_code - 128}"
    return ErrorCode.EXIT_CODE, f"exit code {container.exit_code}"
