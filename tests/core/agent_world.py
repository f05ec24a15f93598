"""A world for the worker's agent: a journal, a runtime, a master and a clock, all deterministic.

Everything that takes time in reality waits in a list until the test lets it happen, so that events
come in any order, and `crash` forgets what a crash forgets.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from podling.core.agent import AgentState, held_attempts, step
from podling.core.agent_attempt import Held
from podling.core.agent_events import (
    Acknowledged,
    Assigned,
    Condition,
    Event,
    Exited,
    ExitWritten,
    IntentWritten,
    JournalRow,
    LeaseRenewed,
    LogsSaved,
    Looked,
    Moment,
    Noted,
    Prepared,
    PrepareFailed,
    Reconciled,
    Removed,
    Restored,
    Seen,
    Started,
    StartFailed,
    StopFailed,
    StopOrdered,
    Swept,
    Timer,
    TimerFired,
    Vanished,
)
from podling.core.agent_instructions import (
    Discard,
    Forget,
    Instruction,
    Look,
    Prepare,
    Remove,
    SaveLogs,
    Send,
    SetTimer,
    Start,
    Stop,
    WriteExit,
    WriteIntent,
    WriteNotes,
)
from podling.core.protocol import (
    Assignment,
    AttemptKey,
    HeldState,
    Report,
    ReportKind,
    ReportOutcome,
    StopOrder,
)
from podling.core.retry import ErrorCode
from podling.core.task import StopReason
from tests.core.agent_model import EXACT, LEASE_SECONDS, RUNTIMES, Call, ModelContainer, key_of

_EPOCH = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class World:
    now: float = 1000.0
    stepped: float = 0.0  # by how much somebody has set the wall clock
    state: AgentState = field(default_factory=lambda: AgentState(runtimes=RUNTIMES, exact_runtimes=EXACT))
    rows: dict[AttemptKey, JournalRow] = field(default_factory=dict)
    writes: list[Instruction] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    timers: dict[Timer, float] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    containers: dict[tuple[AttemptKey, str], ModelContainer] = field(default_factory=dict)
    makes: dict[tuple[AttemptKey, str], int] = field(default_factory=dict)
    starts: dict[tuple[AttemptKey, str], int] = field(default_factory=dict)
    real_exits: dict[AttemptKey, set[int]] = field(default_factory=dict)
    issued: list[Instruction] = field(default_factory=list)
    assigned: dict[AttemptKey, Assignment] = field(default_factory=dict)
    stops: dict[AttemptKey, StopOrder] = field(default_factory=dict)
    stopped_here: set[AttemptKey] = field(default_factory=set)  # told to stop in this life of the worker
    wanted_here: set[AttemptKey] = field(default_factory=set)  # a master has said so in this life
    removed_by_hand: set[AttemptKey] = field(default_factory=set)
    ends: dict[AttemptKey, Report] = field(default_factory=dict)  # as the master took them
    serial: int = 0

    def __post_init__(self) -> None:
        self.restore()

    # The agent

    def feed(self, event: Event) -> None:
        self.state, instructions = step(self.state, (event,), self.moment())
        for instruction in instructions:
            self.issued.append(instruction)
            self._take(instruction)

    def moment(self) -> Moment:
        return Moment(monotonic=self.now, wall=_EPOCH + timedelta(seconds=self.now + self.stepped))

    def _take(self, instruction: Instruction) -> None:
        match instruction:
            case WriteIntent() | WriteNotes() | WriteExit() | Forget():
                self.writes.append(instruction)
            case SetTimer(timer=timer, at=at):
                self.timers[timer] = at
            case Start(key=key):
                assert key not in self.stopped_here, "started after it had been told to stop"
                assert instruction.again or key in self.wanted_here, "started without a master's word"
                self.calls.append(Call(instruction))
            case Send():
                self._check_outbox()
            case _:
                self.calls.append(Call(instruction))

    def _check_outbox(self) -> None:
        """I15: an end is on disk before it is reported, unless its intent never was."""
        for report in self.state.outbox.values():
            row = self.rows.get(key_of(report))
            if report.kind is ReportKind.ENDED and row is not None:
                assert row.final is not None, "reported before it was written"
            elif report.kind is ReportKind.ENDED:
                assert report.never_started, "reported without a row in the journal"

    def held(self, task_id: str = "t1", attempt: int = 1) -> Held:
        return self.state.attempts[AttemptKey(task_id=task_id, attempt=attempt)]

    # The journal

    def write_one(self) -> None:
        """The oldest write reaches the disk and is answered."""
        write = self.writes.pop(0)
        match write:
            case WriteIntent(assignment=given):
                self.rows.setdefault(given.key, JournalRow(key=given.key, assignment=given))
                self.feed(IntentWritten(key=given.key))
            case WriteNotes(key=key, notes=notes):
                self.rows[key] = replace(self.rows[key], notes=notes)
                self.feed(Noted(key=key, notes=notes))
            case WriteExit(key=key, final=final):
                self.rows[key] = replace(self.rows[key], final=final)
                self.feed(ExitWritten(key=key))
            case Forget(key=key):
                if key in self.rows:
                    self.rows[key] = replace(self.rows[key], done=True, assignment=None)

    # The runtime

    def have_effect(self, call: Call) -> None:
        call.has_effect = True
        match call.instruction:
            case Prepare(key=key, container=name):
                assert key in self.rows, "made before its intent was durable"
                if (key, name) not in self.containers:
                    self._make(key, name)
            case Start(key=key, container=name, again=again):
                found = self.containers.get((key, name))
                if found and (again or found.seen.condition is Condition.CREATED):
                    self._run(found)
            case Stop(key=key, container=name, grace_seconds=grace):
                found = self.containers.get((key, name))
                if found and found.seen.condition is Condition.RUNNING:
                    due = self.now + grace
                    found.term_at = due if found.term_at is None else min(found.term_at, due)
            case Remove(key=key):
                held = self.state.attempts[key]
                assert held.is_recorded and held.is_acknowledged and held.are_logs_saved
                for name in [name for owner, name in self.containers if owner == key]:
                    del self.containers[key, name]
            case Discard(seen=seen):
                self.containers.pop((seen.key, seen.container_name), None)

    def _make(self, key: AttemptKey, name: str) -> None:
        self.serial += 1
        self.makes[key, name] = self.makes.get((key, name), 0) + 1
        self.containers[key, name] = ModelContainer(
            Seen(
                task_id=key.task_id,
                attempt=key.attempt,
                container_name=name,
                container_id=f"c{self.serial}",
                condition=Condition.CREATED,
            )
        )

    def _run(self, found: ModelContainer) -> None:
        key, name = found.seen.key, found.seen.container_name
        self.starts[key, name] = self.starts.get((key, name), 0) + 1
        found.starts += 1
        found.term_at = None
        found.seen = replace(
            found.seen, condition=Condition.RUNNING, started_at=self._wall(), finished_at=None, exit_code=None
        )

    def _wall(self) -> datetime:
        self.serial += 1
        return _EPOCH + timedelta(seconds=self.now, microseconds=self.serial)

    def answer(self, call: Call) -> None:
        """Let the call have its effect, if it has not had it, and answer it."""
        if not call.has_effect:
            self.have_effect(call)
        self.calls.remove(call)
        match call.instruction:
            case Prepare(key=key, container=name):
                self.feed(Prepared(key=key, container=name, seen=self._seen_or_gone(key, name)))
            case Start(key=key, container=name):
                if (key, name) in self.containers:
                    self.feed(Started(key=key, container=name, seen=self.containers[key, name].seen))
                else:
                    self.feed(StartFailed(key=key, container=name, error_code="EXTERNAL", error="gone"))
            case SaveLogs(key=key):
                self.feed(LogsSaved(key=key))
            case Remove(key=key):
                self.feed(Removed(key=key))
            case Look(key=key):
                self.feed(
                    Looked(key=key, seen=tuple(c.seen for (k, _), c in self.containers.items() if k == key))
                )

    def _seen_or_gone(self, key: AttemptKey, name: str) -> Seen:
        if (key, name) not in self.containers:
            self._make(key, name)  # removed by hand within the call: the engine makes it within the call
        return self.containers[key, name].seen

    def fail(self, call: Call) -> None:
        """The runtime does not answer in time; whether the call has its effect is open."""
        self.calls.remove(call)
        match call.instruction:
            case Prepare(key=key, container=name):
                self.feed(PrepareFailed(key=key, container=name, error_code=ErrorCode.RUNTIME, error="hung"))
            case Start(key=key, container=name):
                self.feed(StartFailed(key=key, container=name, error_code=ErrorCode.RUNTIME, error="hung"))
            case Stop(key=key, container=name):
                self.feed(StopFailed(key=key, container=name))
            case _:
                self.calls.append(call)

    def exit(self, found: ModelContainer, code: int) -> None:
        """A container ends; the agent is told later."""
        key = found.seen.key
        self.real_exits.setdefault(key, set()).add(code)
        found.seen = replace(found.seen, condition=Condition.EXITED, finished_at=self._wall(), exit_code=code)
        self.told.append(Exited(seen=found.seen))

    def remove_by_hand(self, found: ModelContainer) -> None:
        key, name = found.seen.key, found.seen.container_name
        self.removed_by_hand.add(key)
        del self.containers[key, name]
        self.told.append(Vanished(key=key, container=name))

    def running(self) -> list[ModelContainer]:
        return [one for one in self.containers.values() if one.seen.condition is Condition.RUNNING]

    def tell_one(self, twice: bool = False) -> None:
        told = self.told.pop(0)
        self.feed(told)
        if twice:
            self.feed(told)

    # Time

    def pass_time(self, seconds: float) -> None:
        """Let time pass; timers fire on their moment, and containers told to end are killed on theirs."""
        end = self.now + seconds
        while True:
            due = [(at, "timer", timer) for timer, at in self.timers.items() if at <= end]
            kills = [
                (c.term_at, "kill", c) for c in self.running() if c.term_at is not None and c.term_at <= end
            ]
            if not due and not kills:
                break
            at, kind, what = min([*due, *kills], key=lambda item: item[0])  # type: ignore[list-item]
            self.now = max(self.now, at)
            if kind == "timer":
                del self.timers[what]
                self.feed(TimerFired(timer=what))
            else:
                self.exit(what, 137)
        self.now = end

    # The master

    def assign(self, given: Assignment) -> None:
        self.assigned[given.key] = given
        self.wanted_here.add(given.key)
        self.feed(Assigned(items=(given,)))

    def order_stop(self, key: AttemptKey, reason: StopReason = StopReason.CANCEL) -> None:
        order = StopOrder(task_id=key.task_id, attempt=key.attempt, reason=reason)
        self.stops[key] = order
        self.stopped_here.add(key)
        self.feed(StopOrdered(items=(order,)))

    def renew(self) -> None:
        self.feed(LeaseRenewed(sent_at=self.now, lease_seconds=LEASE_SECONDS))

    def take_reports(self) -> None:
        """The master takes the outbox and acknowledges it."""
        outcomes = {}
        for number, report in dict(self.state.outbox).items():
            outcomes[number] = ReportOutcome.APPLIED
            key = key_of(report)
            if report.kind in (ReportKind.ENDED, ReportKind.REFUSED):
                if key in self.ends:
                    outcomes[number] = ReportOutcome.STALE
                self.ends.setdefault(key, report)
        self.feed(Acknowledged(outcomes=outcomes))

    def reconcile(self) -> None:
        held = held_attempts(self.state)
        have = {AttemptKey(task_id=item.task_id, attempt=item.attempt): item.state for item in held}
        forget = [key for key, state in have.items() if key in self.ends and state is HeldState.ENDED]
        stale = [key for key, state in have.items() if key in self.ends and state is not HeldState.ENDED]
        stop = [self.stops[key] for key in have if key in self.stops and key not in self.ends]
        stop += [
            StopOrder(task_id=key.task_id, attempt=key.attempt, reason=StopReason.STALE) for key in stale
        ]
        missing = [given for key, given in self.assigned.items() if key not in have and key not in self.ends]
        assign = [given for given in missing if given.key not in self.stops]
        self.stopped_here |= {key_of(order) for order in stop}
        for given in missing:
            if given.key in self.stops:
                # The worker has nothing of it: the stop answers itself once the assignment is repeated.
                assign.append(given)
                stop.append(self.stops[given.key])
                self.stopped_here.add(given.key)
        self.wanted_here |= set(self.assigned)
        self.feed(Reconciled(assign=tuple(assign), stop=tuple(stop), forget=tuple(forget)))

    # The end of the program, and its next start

    def crash(self) -> None:
        """Everything in memory is lost; calls on their way may or may not have had their effect."""
        self.writes.clear()
        self.calls.clear()
        self.timers.clear()
        self.told.clear()
        self.stopped_here.clear()
        self.wanted_here.clear()
        self.state = AgentState(runtimes=RUNTIMES, exact_runtimes=EXACT)

    def restore(self, lease_sent_at: float | None = None) -> None:
        self.feed(
            Restored(
                rows=tuple(self.rows.values()),
                seen=tuple(container.seen for container in self.containers.values()),
                lease_seconds=LEASE_SECONDS,
                lease_sent_at=self.now if lease_sent_at is None else lease_sent_at,
            )
        )

    def sweep(self) -> None:
        self.feed(Swept(seen=tuple(container.seen for container in self.containers.values())))

    # To the end

    def settle(self, until: Callable[[], bool] | None = None, rounds: int = 400) -> None:
        """Let everything on its way happen, without any new time passing, until nothing is left."""
        for _ in range(rounds):
            if until is not None and until():
                return
            if self.writes:
                self.write_one()
            elif self.calls:
                self.answer(self.calls[0])
            elif self.told:
                self.tell_one()
            else:
                return
        raise AssertionError("it does not come to rest")

    def run_out(self) -> None:
        """Let every container end and every report be taken, until the worker holds nothing."""
        for _ in range(60):
            self.renew()
            self.settle()
            self.reconcile()
            self.settle()
            for found in self.running():
                self.exit(found, 0)
            self.settle()
            self.take_reports()
            self.settle()
            self.pass_time(3.0)
            if not self.state.attempts and set(self.ends) == set(self.assigned):
                break
        self.sweep()
        self.settle()
