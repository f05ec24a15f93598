"""The worker as a state machine: `step(state, events, now)` returns the new state and what to do.

The shell (`podling.worker.shell`) carries out the instructions and feeds their results back as
events. Order that must last: the intent is on disk before a container is made, the end is on disk
before it is reported, and a container is removed only when its end and its log are on disk and the
end is acknowledged.
"""

from collections.abc import Callable, Iterable
from typing import Any

from podling.core import agent_advance as rules
from podling.core import agent_learn as learn
from podling.core import agent_lease as lease
from podling.core.agent_attempt import Ending, Held, HeldContainer, Phase, new_held
from podling.core.agent_events import (
    Acknowledged,
    Assigned,
    Condition,
    Draining,
    Event,
    Exited,
    ExitNotWritten,
    ExitWritten,
    HealthTold,
    IntentFailed,
    IntentWritten,
    LeaseRenewed,
    LogsSaved,
    Looked,
    LookFailed,
    Moment,
    NodeDrained,
    Noted,
    NotNoted,
    Prepared,
    PrepareFailed,
    Reconciled,
    Removed,
    RemoveFailed,
    Restored,
    Seen,
    Started,
    StartFailed,
    StopFailed,
    StopOrdered,
    Swept,
    Timer,
    TimerFired,
    TimerKind,
    Vanished,
)
from podling.core.agent_instructions import Discard, Instruction, SetTimer, WriteExit
from podling.core.agent_restore import restore
from podling.core.agent_turn import AgentState, Lease, Turn, held_attempts, is_idle
from podling.core.protocol import (
    Assignment,
    AttemptKey,
    ReportOutcome,
    StopOrder,
)
from podling.core.retry import ErrorCode
from podling.core.task import StopReason
from podling.core.value import changed

__all__ = ["AgentState", "Lease", "held_attempts", "is_idle", "step"]

RECORD_AGAIN_SECONDS = 1.0
REMOVE_AGAIN_SECONDS = 5.0


def step(
    state: AgentState, events: Iterable[Event], now: Moment
) -> tuple[AgentState, tuple[Instruction, ...]]:
    """Return the state after the events, and the instructions that follow from them, in order.

    Many at once cost one copy of what is held, however many that are.
    """
    turn = Turn(state, now)
    for event in events:
        if isinstance(event, LeaseRenewed):
            lease.renew(turn, event)
        else:
            lease.check(turn)
            _HANDLERS[type(event)](turn, event)
        rules.go_on_after_older(turn)
    return turn.result(), tuple(turn.instructions)


# From the master


def _stale_order(key: AttemptKey) -> StopOrder:
    return StopOrder(task_id=key.task_id, attempt=key.attempt, reason=StopReason.STALE)


def _assigned(turn: Turn, event: Assigned) -> None:
    for assignment in event.items:
        _assign(turn, assignment)


def _assign(turn: Turn, assignment: Assignment) -> None:
    key = assignment.key
    held = turn.attempts.get(key)
    if held is not None:
        _assign_again(turn, held)
    elif key in turn.done:
        final = turn.done[key]
        if final is not None:
            turn.put(final)
    else:
        fresh = new_held(assignment)
        order = turn.state.stopped.get(key)
        rules.go_on(turn, fresh if order is None else changed(fresh, order=order))


def _assign_again(turn: Turn, held: Held) -> None:
    """The master wants what is here already; if it has ended, it is told so (again)."""
    if held.final is not None and held.is_acknowledged:
        turn.put(held.final)
    else:
        rules.go_on(turn, changed(held, is_confirmed=True))


def _stop_ordered(turn: Turn, event: StopOrdered) -> None:
    for order in event.items:
        _stop(turn, order)


def _stop(turn: Turn, order: StopOrder) -> None:
    key = AttemptKey(task_id=order.task_id, attempt=order.attempt)
    if key in turn.attempts:
        rules.change_one(turn, key, lambda held: rules.order_stop(turn, held, order))
    elif key not in turn.done:
        turn.remember_stop(order)


def _reconciled(turn: Turn, event: Reconciled) -> None:
    for order in event.stop:
        _stop(turn, order)
    for key in event.forget:
        rules.change_one(turn, key, lambda held: _forgotten(turn, held))
    rules.change_all(turn, lambda held: changed(held, is_confirmed=True))
    for assignment in event.assign:
        _assign(turn, assignment)


def _forgotten(turn: Turn, held: Held) -> Held:
    """Nobody waits for it: as good as acknowledged, once it has ended."""
    for sequence in held.outstanding:
        turn.outbox.pop(sequence, None)
    forgotten = changed(held, is_acknowledged=True, outstanding=())
    return rules.order_stop(turn, forgotten, _stale_order(held.key))


def _acknowledged(turn: Turn, event: Acknowledged) -> None:
    for sequence, outcome in event.outcomes.items():
        report = turn.outbox.pop(sequence, None)
        if report is not None:
            key = AttemptKey(task_id=report.task_id, attempt=report.attempt)
            rules.change_one(turn, key, lambda held, s=sequence, o=outcome: _answered(turn, held, s, o))  # type: ignore[misc]


def _answered(turn: Turn, held: Held, sequence: int, outcome: ReportOutcome) -> Held:
    rest = tuple(number for number in held.outstanding if number != sequence)
    held = changed(held, outstanding=rest)
    if held.is_recorded:
        return changed(held, is_acknowledged=True)
    if outcome in (ReportOutcome.STALE, ReportOutcome.UNKNOWN):
        return rules.order_stop(turn, held, _stale_order(held.key))
    return held


def _draining(turn: Turn, event: Draining) -> None:
    turn.state = changed(turn.state, draining=event.reason)
    rules.change_all(turn, lambda held: held)


def _node_drained(turn: Turn, event: NodeDrained) -> None:
    turn.state = changed(turn.state, drained=event.reason)
    rules.change_all(turn, lambda held: held)


# From the journal


def _intent_written(turn: Turn, event: IntentWritten) -> None:
    rules.change_one(turn, event.key, lambda held: changed(held, is_intended=True))


def _intent_failed(turn: Turn, event: IntentFailed) -> None:
    def change(held: Held) -> Held:
        held = changed(held, is_journaled=False)
        if held.final is not None:
            return held
        refused = Ending(error_code=ErrorCode.RUNTIME, error=event.error, is_refusal=True)
        return changed(held, ending=held.ending or refused)

    rules.change_one(turn, event.key, change)


def _noted(turn: Turn, event: Noted) -> None:
    rules.change_one(turn, event.key, lambda held: changed(held, durable_notes=event.notes))


def _not_noted(turn: Turn, event: NotNoted) -> None:
    timer = Timer(kind=TimerKind.NOTE, key=event.key)
    turn.tell(SetTimer(timer=timer, at=turn.now.monotonic + RECORD_AGAIN_SECONDS))


def _exit_written(turn: Turn, event: ExitWritten) -> None:
    rules.change_one(turn, event.key, lambda held: held if held.is_recorded else rules.recorded(turn, held))


def _exit_not_written(turn: Turn, event: ExitNotWritten) -> None:
    timer = Timer(kind=TimerKind.RECORD, key=event.key)
    turn.tell(SetTimer(timer=timer, at=turn.now.monotonic + RECORD_AGAIN_SECONDS))


def _logs_saved(turn: Turn, event: LogsSaved) -> None:
    rules.change_one(turn, event.key, lambda held: changed(held, are_logs_saved=True))


# From the runtimes


def _prepared(turn: Turn, event: Prepared) -> None:
    def change(held: Held, container: HeldContainer) -> Held:
        if container.phase is not Phase.PREPARING:
            return held
        held = learn.saw(turn, held, container, event.seen)
        if event.seen.condition is Condition.RUNNING:  # adopted by its name: did it end meanwhile?
            held = learn.doubt(turn, held, container.name)
        return held

    rules.change_container(turn, event.key, event.container, change)


def _prepare_failed(turn: Turn, event: PrepareFailed) -> None:
    rules.change_one(
        turn, event.key, lambda held: learn.failed(held, event.container, event.error_code, event.error)
    )


def _started(turn: Turn, event: Started) -> None:
    def change(held: Held, container: HeldContainer) -> Held:
        if container.phase is not Phase.STARTING:
            return held  # its end came first
        return learn.saw(turn, held, container, event.seen)

    rules.change_container(turn, event.key, event.container, change)


def _start_failed(turn: Turn, event: StartFailed) -> None:
    def change(held: Held, container: HeldContainer) -> Held:
        if container.phase is not Phase.STARTING:
            return held
        if event.error_code == ErrorCode.RUNTIME:
            return learn.doubt(turn, held, container.name)
        return learn.failed(held, container.name, event.error_code, event.error)

    rules.change_container(turn, event.key, event.container, change)


def _stop_failed(turn: Turn, event: StopFailed) -> None:
    rules.change_container(
        turn, event.key, event.container, lambda held, container: learn.doubt(turn, held, container.name)
    )


def _exited(turn: Turn, event: Exited) -> None:
    def change(held: Held, container: HeldContainer) -> Held:
        if learn.is_repeated(container, event.seen):
            return held
        return learn.saw_exit(turn, held, container, event.seen)

    rules.change_container(turn, event.seen.key, event.seen.container_name, change)


def _vanished(turn: Turn, event: Vanished) -> None:
    rules.change_container(
        turn, event.key, event.container, lambda held, container: learn.vanished(turn, held, container)
    )


def _looked(turn: Turn, event: Looked) -> None:
    by_name = {seen.container_name: seen for seen in event.seen}
    rules.change_one(turn, event.key, lambda held: learn.looked(turn, held, by_name))


def _look_failed(turn: Turn, event: LookFailed) -> None:
    timer = Timer(kind=TimerKind.LOOK, key=event.key)
    turn.tell(SetTimer(timer=timer, at=turn.now.monotonic + learn.LOOK_AGAIN_SECONDS))


def _swept(turn: Turn, event: Swept) -> None:
    _discard(turn, (seen for seen in event.seen if seen.key not in turn.attempts))


def _discard(turn: Turn, unknown: Iterable[Seen]) -> None:
    for seen in unknown:
        turn.tell(Discard(seen=seen))


def _removed(turn: Turn, event: Removed) -> None:
    held = turn.attempts.get(event.key)
    if held is not None:
        rules.forget(turn, held)


def _remove_failed(turn: Turn, event: RemoveFailed) -> None:
    timer = Timer(kind=TimerKind.REMOVE, key=event.key)
    turn.tell(SetTimer(timer=timer, at=turn.now.monotonic + REMOVE_AGAIN_SECONDS))


# Time


def _timer_fired(turn: Turn, event: TimerFired) -> None:
    timer = event.timer
    if timer.kind is TimerKind.LEASE_KILL:
        lease.kill_late(turn)
    elif timer.key is not None and (held := turn.attempts.get(timer.key)) is not None:
        rules.go_on(turn, _on_timer(turn, held, timer))


def _on_timer(turn: Turn, held: Held, timer: Timer) -> Held:
    match timer.kind:
        case TimerKind.TIMEOUT:
            return rules.timed_out(turn, held)
        case TimerKind.RESTART if (container := held.container(timer.container or "")) is not None:
            return learn.restart(turn, held, container)
        case TimerKind.LOOK:
            learn.look(turn, held)
        case TimerKind.NOTE:
            return changed(held, noted=held.durable_notes)
        case TimerKind.RECORD if held.final is not None and not held.is_recorded:
            turn.tell(WriteExit(key=held.key, final=held.final))
        case TimerKind.REMOVE if held.is_removing:
            rules.remove(turn, held)
    return held


# After the program's start


def _restored(turn: Turn, event: Restored) -> None:
    rest = restore(turn, event.rows, event.seen)
    _discard(turn, rest)
    if event.lease_seconds is not None:
        lease.renew(turn, lease.at_start(turn.now, event.lease_seconds, event.lease_sent_at))
    for held in tuple(turn.attempts.values()):
        rules.go_on(turn, held)


_HANDLERS: dict[type[Any], Callable[[Turn, Any], None]] = {
    Restored: _restored,
    Assigned: _assigned,
    StopOrdered: _stop_ordered,
    Reconciled: _reconciled,
    Acknowledged: _acknowledged,
    IntentWritten: _intent_written,
    IntentFailed: _intent_failed,
    Noted: _noted,
    NotNoted: _not_noted,
    ExitWritten: _exit_written,
    ExitNotWritten: _exit_not_written,
    Prepared: _prepared,
    PrepareFailed: _prepare_failed,
    Started: _started,
    StartFailed: _start_failed,
    StopFailed: _stop_failed,
    Exited: _exited,
    HealthTold: learn.health_told,
    Vanished: _vanished,
    Looked: _looked,
    LookFailed: _look_failed,
    Swept: _swept,
    LogsSaved: _logs_saved,
    Removed: _removed,
    RemoveFailed: _remove_failed,
    TimerFired: _timer_fired,
    Draining: _draining,
    NodeDrained: _node_drained,
}
