"""The worker's lease: what must not outlive it is told to end at two thirds, and killed before its end."""

from podling.core import agent_advance as rules
from podling.core.agent_attempt import Held
from podling.core.agent_events import LeaseRenewed, Moment, Timer, TimerKind
from podling.core.agent_instructions import SetTimer
from podling.core.agent_turn import Lease, Turn
from podling.core.protocol import StopOrder
from podling.core.spec import OnDisconnect
from podling.core.task import StopReason
from podling.core.value import changed


def renew(turn: Turn, event: LeaseRenewed) -> None:
    lease = turn.state.lease
    if lease is not None and lease.sent_at > event.sent_at:
        return
    had_lapsed = turn.state.is_lapsed
    lease = Lease(sent_at=event.sent_at, seconds=event.lease_seconds)
    turn.state = changed(turn.state, lease=lease, is_lapsed=False)
    turn.tell(SetTimer(timer=Timer(kind=TimerKind.LEASE_STOP), at=lease.stop_at))
    check(turn)  # an answer may come so late that it is no use any more
    if had_lapsed and not turn.state.is_lapsed:
        rules.change_all(turn, lambda held: held)  # what has waited for it


def check(turn: Turn) -> None:
    """Stop, at two thirds of the lease, whatever must not outlive it."""
    lease = turn.state.lease
    if lease is None or turn.state.is_lapsed or turn.now.monotonic < lease.stop_at:
        return
    turn.state = changed(turn.state, is_lapsed=True)
    turn.tell(SetTimer(timer=Timer(kind=TimerKind.LEASE_KILL), at=lease.last_kill_at))
    _stop_leased(turn, lease.kill_at)


def _stop_leased(turn: Turn, kill_at: float) -> None:
    def change(held: Held) -> Held:
        if held.assignment.spec.on_disconnect is OnDisconnect.KEEP:
            return held
        return rules.order_stop(turn, held, _order(held), kill_at)

    rules.change_all(turn, change)


def kill_late(turn: Turn) -> None:
    """Kill what still runs although it was told to stop: the last moment before the lease ends."""
    lease = turn.state.lease
    if lease is not None and turn.state.is_lapsed and turn.now.monotonic >= lease.last_kill_at:
        _stop_leased(turn, turn.now.monotonic)


def _order(held: Held) -> StopOrder:
    return StopOrder(task_id=held.key.task_id, attempt=held.key.attempt, reason=StopReason.DISCONNECT)


def at_start(now: Moment, seconds: float, sent_at: float | None) -> LeaseRenewed:
    """Return the lease to begin with: what is left of the old one, or, if it ended while the program
    was away, a whole one to find a master in: the overlap, if any, has happened by then."""
    if sent_at is None or not now.monotonic - seconds < sent_at <= now.monotonic:
        sent_at = now.monotonic
    return LeaseRenewed(sent_at=sent_at, lease_seconds=seconds)
