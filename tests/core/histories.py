"""Random lives of tasks: any event at any time, legal or not, as the lifecycle takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from podling.core.errors import PodlingError
from podling.core.lifecycle import (
    Announce,
    Assign,
    Cancel,
    Deadline,
    DeclareLost,
    Deny,
    Event,
    EventKind,
    Evict,
    Lose,
    ParentsMet,
    ParentUnmet,
    QueueTimeout,
    Reported,
    Resolve,
    RetryNow,
    Transition,
    apply,
)
from podling.core.protocol import Report, ReportKind
from podling.core.retry import ErrorCode
from podling.core.spec import Delivery, Dependency, OnDisconnect, OnLost, RetryPolicy, TaskSpec
from podling.core.task import (
    NEVER,
    Attempt,
    ContainerState,
    ContainerStatus,
    HealthStatus,
    Resolution,
    StopReason,
    Task,
    TaskEvent,
)
from tests.builders import NOW, build_spec, build_task

_REPORTS = {
    EventKind.STARTED: ReportKind.RUNNING,
    EventKind.UPDATED: ReportKind.UPDATE,
    EventKind.ENDED: ReportKind.ENDED,
    EventKind.REFUSED: ReportKind.REFUSED,
}


@dataclass(frozen=True)
class Step:
    """One event, told without the task that it will meet."""

    kind: EventKind
    attempt_offset: int = 0
    foreign: bool = False
    node: str = "node-1"
    error_code: str | None = None
    error: str | None = None
    exit_code: int | None = 0
    stopped_by: StopReason | None = None
    never_started: bool = False
    health: HealthStatus = HealthStatus.UNKNOWN
    outcome: Resolution = Resolution.RETRY
    seconds: float = 1.0
    draw: float = 0.5

    def event(self, task: Task, now: datetime) -> Event:
        match self.kind:
            case EventKind.ASSIGN:
                return Assign(node_id=self.node)
            case EventKind.LOSE:
                return Lose(attempt=task.attempt + self.attempt_offset, reason="no beat for 12 s")
            case EventKind.DECLARE_LOST:
                return DeclareLost(attempt=task.attempt + self.attempt_offset, reason="gone for good")
            case EventKind.EVICT:
                return Evict(attempt=task.attempt + self.attempt_offset, reason="its node is drained")
            case EventKind.CANCEL:
                return Cancel()
            case EventKind.RETRY_NOW:
                return RetryNow()
            case EventKind.RESOLVE:
                return Resolve(outcome=self.outcome)
            case EventKind.QUEUE_TIMEOUT:
                return QueueTimeout()
            case EventKind.DEADLINE:
                return Deadline()
            case EventKind.ANNOUNCE:
                attempt = task.attempt + self.attempt_offset
                return Announce(attempt=attempt, progress=100 * self.draw, result='{"done": true}')
            case EventKind.DENY:
                return Deny(reason="its queue takes no more this minute")
            case EventKind.PARENTS_MET:
                return ParentsMet(parents=1)
            case EventKind.PARENT_UNMET:
                return ParentUnmet(reason="it starts only when task a has completed", parent_id="a")
        node_id = "elsewhere" if self.foreign else task.node_id or "elsewhere"
        return Reported(report=self._report(task, now), node_id=node_id)

    def _report(self, task: Task, now: datetime) -> Report:
        state = ContainerState(name="main", status=ContainerStatus.RUNNING, container_id=f"c{task.attempt}")
        return Report(
            sequence=1,
            task_id=task.task_id,
            attempt=task.attempt + self.attempt_offset,
            kind=_REPORTS[self.kind],
            at=now,
            exit_code=self.exit_code,
            error_code=self.error_code,
            error=self.error,
            stopped_by=self.stopped_by,
            never_started=self.never_started,
            health_status=self.health,
            containers=(state,),
        )


@dataclass
class History:
    """A task, everything kept about it, and every transition that brought it there."""

    task: Task
    now: datetime = NOW
    attempts: dict[int, Attempt] = field(default_factory=dict)
    events: list[TaskEvent] = field(default_factory=list)
    transitions: list[tuple[Task, Event, Transition]] = field(default_factory=list)
    refusals: list[PodlingError] = field(default_factory=list)

    def take(self, step: Step) -> None:
        self.now += timedelta(seconds=step.seconds)
        event = step.event(self.task, self.now)
        try:
            transition = apply(self.task, event, self.now, step.draw)
        except PodlingError as refusal:
            self.refusals.append(refusal)
            return
        self.transitions.append((self.task, event, transition))
        self.events.extend(transition.events)
        if transition.attempt is not None:
            self.attempts[transition.attempt.attempt] = transition.attempt
        self.task = transition.task

    def rows(self) -> list[Attempt]:
        return [self.attempts[number] for number in sorted(self.attempts)]


def waiting(spec: TaskSpec) -> dict[str, datetime]:
    """Return what sets a task apart that waits for its parents."""
    return {"run_at": NEVER} if spec.depends_on else {}


def live(spec: TaskSpec, steps: Sequence[Step]) -> History:
    history = History(task=build_task(spec=spec, task_id="task-1", **waiting(spec)))
    for step in steps:
        history.take(step)
    return history


retries = st.builds(
    RetryPolicy,
    base_seconds=st.sampled_from([0.0, 1.0, 30.0]),
    factor=st.sampled_from([1.0, 2.0, 100.0]),
    max_seconds=st.sampled_from([0.0, 60.0, 3e8]),
    jitter=st.sampled_from([0.0, 0.5, 1.0]),
    on=st.sampled_from([(), ("EXIT_CODE",), ("exit:75",)]),
    not_on=st.sampled_from([(), ("OOM",)]),
)
limits = st.sampled_from([None, 5.0, 100.0])


@st.composite
def specs(draw: st.DrawFn) -> TaskSpec:
    spec = build_spec(
        delivery=draw(st.sampled_from(Delivery)),
        on_lost=draw(st.sampled_from(OnLost)),
        max_attempts=draw(st.integers(1, 4)),
        max_losses=draw(st.integers(0, 2)),
        queue_timeout_seconds=draw(limits),
        deadline_seconds=draw(limits),
        timeout_seconds=draw(limits),
        retry=draw(retries),
        depends_on=draw(st.sampled_from([(), (), (), (Dependency(task_id="a"),)])),
    )
    keep = spec.on_lost is not OnLost.RETRY and draw(st.booleans())
    return replace(spec, on_disconnect=OnDisconnect.KEEP) if keep else spec


# Events that lead somewhere are drawn more often than the ones that end everything.
_KINDS = (
    *(EventKind.ASSIGN,) * 5,
    *(EventKind.STARTED,) * 3,
    *(EventKind.ENDED,) * 3,
    *EventKind,
)
steps = st.builds(
    Step,
    kind=st.sampled_from(_KINDS),
    attempt_offset=st.sampled_from([0, 0, 0, 0, -1, 1]),
    foreign=st.sampled_from([False, False, False, True]),
    node=st.sampled_from(["node-1", "node-2"]),
    error_code=st.sampled_from([None, *ErrorCode, "MADE_UP"]),
    error=st.sampled_from([None, "", "it broke", "First. Then this.\nAnd \x1b[31m that!", "x" * 9000]),
    exit_code=st.sampled_from([None, 0, 1, 75, 137, 255, 256, -1]),
    stopped_by=st.sampled_from([None, None, None, *StopReason]),
    never_started=st.sampled_from([False, False, True]),
    health=st.sampled_from(HealthStatus),
    outcome=st.sampled_from(Resolution),
    seconds=st.sampled_from([0.0, 1.0, 50.0, 1000.0]),
    draw=st.floats(0, 1, exclude_max=True),
)
histories = st.builds(live, specs(), st.lists(steps, max_size=30))
