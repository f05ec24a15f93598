"""The rules of one attempt on a worker: from the facts to the next instructions, after every event."""

from collections.abc import Callable
from operator import is_

from podling.core.agent_attempt import (
    Ending,
    Held,
    HeldContainer,
    Phase,
    ending_by_order,
    failure_of,
    final_of,
    report_of,
)
from podling.core.agent_instructions import (
    Forget,
    Prepare,
    Remove,
    SaveLogs,
    Start,
    Stop,
    WriteExit,
    WriteIntent,
    WriteNotes,
)
from podling.core.agent_turn import Turn
from podling.core.protocol import AttemptKey, ReportKind, StopOrder
from podling.core.task import StopReason
from podling.core.value import changed

_NOT_MADE = frozenset({Phase.ABSENT, Phase.PREPARING})
_STARTED = frozenset({Phase.RUNNING, Phase.WAITING, Phase.EXITED})


def advance(turn: Turn, held: Held) -> Held:
    """Do whatever the attempt's facts ask for now; calling it again changes nothing."""
    if held.final is None:
        held = _decide(turn, held)
        held = _proceed(turn, held) if held.ending is None else _end(turn, held, held.ending)
    held = _note(turn, held)
    return _clean_up(turn, held)


def go_on(turn: Turn, held: Held) -> None:
    """Keep the attempt, advanced; forget it if it is over and has left nothing."""
    held = advance(turn, held)
    if held.is_removing and held.leaves_nothing:
        forget(turn, held)
    else:
        turn.attempts[held.key] = held


def forget(turn: Turn, held: Held) -> None:
    """Nothing is left of the attempt but its number."""
    turn.attempts.pop(held.key, None)
    turn.remember_done(held.key, held.final)
    turn.tell(Forget(key=held.key))


def go_on_after_older(turn: Turn) -> None:
    """Start what has waited for the end of an earlier attempt of the same task."""
    while turn.settled:
        for later in turn.behind(turn.settled.pop()):
            go_on(turn, turn.attempts[later])


# What has become of it


def _decide(turn: Turn, held: Held) -> Held:
    if held.ending is not None or (ending := _ending(turn, held)) is None:
        return held
    return changed(held, ending=ending)


def _ending(turn: Turn, held: Held) -> Ending | None:
    if held.order is not None:
        return ending_by_order(held, held.order.reason)
    if not held.may_run and (refusal := turn.refusal(held.assignment)) is not None:
        return Ending(error_code=refusal[0], error=refusal[1], is_refusal=True)
    over = [one for one in held.containers if one.phase in (Phase.EXITED, Phase.FAILED, Phase.GONE)]
    for container in over:
        if (failure := failure_of(container)) is not None:
            code, error = failure
            named = f"{container.name}: {error}" if len(held.containers) > 1 else error
            return Ending(exit_code=container.exit_code, error_code=code, error=named)
    return Ending(exit_code=0) if len(over) == len(held.containers) else None


# Towards running


def _proceed(turn: Turn, held: Held) -> Held:
    if not held.is_confirmed:
        return _report(turn, held)
    if not held.may_run and turn.waits_for_lease(held.assignment):
        return held
    if not held.is_journaled:
        turn.tell(WriteIntent(assignment=held.assignment))
        return changed(held, is_journaled=True)
    if not held.is_intended:
        return held
    if turn.still_runs_older(held.key):
        turn.wait_behind(held.key)
        return held
    held = _each(turn, held, _make)
    if any(container.phase in _NOT_MADE for container in held.containers):
        return held
    return _report(turn, _each(turn, held, _start))


def _each(turn: Turn, held: Held, change: Callable[[Turn, Held, HeldContainer], HeldContainer]) -> Held:
    """Change each container, if there is anything to be changed."""
    after = tuple([change(turn, held, one) for one in held.containers])
    if all(map(is_, after, held.containers)):
        return held
    return changed(held, containers=after)


def _make(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    if container.phase is not Phase.ABSENT:
        return container
    starts = held.ends_with_worker and not held.starts_once
    turn.tell(Prepare(key=held.key, container=container.name, starts=starts))
    return changed(container, phase=Phase.STARTING if starts else Phase.PREPARING)


def _start(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    if container.phase is not Phase.CREATED or container.container_id is None:
        return container
    if held.starts_once and not _is_noted(held, container):
        return container  # it must not look unmade after a crash, or it would be made again
    turn.tell(Start(key=held.key, container=container.name, container_id=container.container_id))
    return changed(container, phase=Phase.STARTING, is_doubtful=False)


def _is_noted(held: Held, container: HeldContainer) -> bool:
    return any(noted.container_id == container.container_id for noted in held.durable_notes.containers)


def _report(turn: Turn, held: Held) -> Held:
    """Report that it runs, and later whatever has changed."""
    if held.reported is None and any(one.phase not in _STARTED for one in held.containers):
        return held
    states = tuple(container.state for container in held.containers)
    if (states, held.health) == (held.reported, held.reported_health):
        return held
    kind = ReportKind.RUNNING if held.reported is None else ReportKind.UPDATE
    told = changed(held, reported=states, reported_health=held.health)
    return turn.report(told, report_of(held, kind, turn.now.wall))


# Towards its end


def _end(turn: Turn, held: Held, ending: Ending) -> Held:
    held = _each(turn, held, _stop)
    if not held.is_settled:
        return held
    final = final_of(held, _complete(held, ending), turn.now.wall)
    held = changed(held, final=final, are_logs_saved=held.are_logs_saved or not held.may_have_log)
    turn.settled.append(held.key)
    if not held.are_logs_saved:
        turn.tell(SaveLogs(key=held.key))
    if held.is_journaled:
        turn.tell(WriteExit(key=held.key, final=final))
        return held
    return recorded(turn, held)


def _complete(held: Held, ending: Ending) -> Ending:
    """Add the exit code of an attempt that was stopped: that of its first container."""
    if ending.stopped_by is None:
        return ending
    return changed(ending, exit_code=held.containers[0].exit_code)


def recorded(turn: Turn, held: Held) -> Held:
    """Report the end, now that it is durable or need not be."""
    assert held.final is not None
    return turn.report(changed(held, is_recorded=True), held.final)


def _stop(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    if container.phase is Phase.WAITING:
        return changed(container, phase=Phase.EXITED)
    if container.phase is not Phase.RUNNING or container.container_id is None or container.is_doubtful:
        return container
    grace = _grace(turn, held, container)
    kill_by = turn.now.monotonic + grace
    if container.kill_by is not None and kill_by >= container.kill_by:
        return container
    turn.tell(
        Stop(
            key=held.key,
            container=container.name,
            container_id=container.container_id,
            signal=container.spec.stop_signal,
            grace_seconds=grace,
        )
    )
    return changed(container, kill_by=kill_by)


def _grace(turn: Turn, held: Held, container: HeldContainer) -> float:
    grace = container.spec.stop_grace_seconds
    if held.order is not None and held.order.grace_seconds is not None:
        grace = held.order.grace_seconds
    if held.kill_at is not None:
        grace = min(grace, held.kill_at - turn.now.monotonic)
    return max(grace, 0.0)


def order_stop(turn: Turn, held: Held, order: StopOrder, kill_at: float | None = None) -> Held:
    """Take an order to stop. The first one gives the reason, a later one may shorten the grace."""
    if held.final is not None:
        return held
    latest = [at for at in (held.kill_at, kill_at) if at is not None]
    if held.order is not None and order.grace_seconds is not None:
        latest.append(turn.now.monotonic + order.grace_seconds)
    return changed(held, order=held.order or order, kill_at=min(latest, default=None))


def timed_out(turn: Turn, held: Held) -> Held:
    """The attempt has used up `timeoutSeconds`."""
    order = StopOrder(task_id=held.key.task_id, attempt=held.key.attempt, reason=StopReason.TIMEOUT)
    return held if held.ending is not None else order_stop(turn, held, order)


# After its end


def _note(turn: Turn, held: Held) -> Held:
    if not held.is_journaled or not _has_notes(held):
        return held
    notes = held.notes
    if notes == held.noted:
        return held
    turn.tell(WriteNotes(key=held.key, notes=notes, urgent=held.starts_once and held.final is None))
    return changed(held, noted=notes)


def _has_notes(held: Held) -> bool:
    """Of what ends with its worker nothing is there to be found again: its intent and its end say all."""
    return not held.ends_with_worker or held.starts_once or held.order is not None


def _clean_up(turn: Turn, held: Held) -> Held:
    """Remove the containers once exit, logs and acknowledgement are safe."""
    is_safe = held.is_recorded and held.are_logs_saved and held.is_acknowledged
    if not is_safe or held.is_removing or any(one.phase is Phase.PREPARING for one in held.containers):
        return held
    if not held.leaves_nothing:
        remove(turn, held)
    return changed(held, is_removing=True)


def remove(turn: Turn, held: Held) -> None:
    """Have what is left of it removed."""
    ids = tuple(one.container_id for one in held.containers if one.container_id is not None)
    turn.tell(Remove(key=held.key, container_ids=ids))


# Changes, and what follows from them


def change_one(turn: Turn, key: AttemptKey, change: Callable[[Held], Held]) -> None:
    """Change the attempt, if it is still there, and do what follows."""
    held = turn.attempts.get(key)
    if held is not None:
        go_on(turn, change(held))


def change_container(
    turn: Turn, key: AttemptKey, name: str, change: Callable[[Held, HeldContainer], Held]
) -> None:
    """Change the attempt on account of one of its containers, if both are there."""

    def on_held(held: Held) -> Held:
        container = held.container(name)
        return held if container is None else change(held, container)

    change_one(turn, key, on_held)


def change_all(turn: Turn, change: Callable[[Held], Held]) -> None:
    """Change every attempt, and do what follows."""
    for key in tuple(turn.attempts):
        change_one(turn, key, change)
