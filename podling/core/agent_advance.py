"""The rules of one attempt on a worker: from the facts to the next instructions, after every event."""

from dataclasses import replace

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
from podling.core.agent_events import (
    Condition,
    Look,
    Prepare,
    Remove,
    SaveLogs,
    Seen,
    SetTimer,
    Start,
    Stop,
    Timer,
    TimerKind,
    WriteExit,
    WriteIntent,
    WriteNotes,
)
from podling.core.agent_turn import Turn
from podling.core.protocol import ReportKind, StopOrder
from podling.core.retry import ErrorCode
from podling.core.spec import RestartPolicy
from podling.core.task import StopReason

RESTART_BASE_SECONDS = 1.0
RESTART_MAX_SECONDS = 300.0
RESTART_RESET_SECONDS = 600.0  # who ran that long starts again without a wait
LOOK_AGAIN_SECONDS = 2.0

_NOT_MADE = frozenset({Phase.ABSENT, Phase.PREPARING})
_STARTED = frozenset({Phase.RUNNING, Phase.WAITING, Phase.EXITED})


def advance(turn: Turn, held: Held) -> Held:
    """Do whatever the attempt's facts ask for now; calling it again changes nothing."""
    if held.final is None:
        held = _decide(turn, held)
        held = _proceed(turn, held) if held.ending is None else _end(turn, held, held.ending)
    held = _note(turn, held)
    return _clean_up(turn, held)


# What has become of it


def _decide(turn: Turn, held: Held) -> Held:
    if held.ending is not None:
        return held
    return replace(held, ending=_ending(turn, held))


def _ending(turn: Turn, held: Held) -> Ending | None:
    if held.order is not None:
        return ending_by_order(held, held.order.reason)
    if not held.may_run and (refusal := turn.refusal(held.assignment)) is not None:
        return Ending(error_code=ErrorCode.RUNTIME, error=refusal, is_refusal=True)
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
    if not held.is_journaled:
        turn.tell(WriteIntent(assignment=held.assignment))
        return replace(held, is_journaled=True)
    if not held.is_intended:
        return held
    held = replace(held, containers=tuple(_make(turn, held, one) for one in held.containers))
    if any(container.phase in _NOT_MADE for container in held.containers):
        return held
    held = replace(held, containers=tuple(_start(turn, held, one) for one in held.containers))
    return _report(turn, held)


def _make(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    if container.phase is not Phase.ABSENT:
        return container
    turn.tell(Prepare(key=held.key, container=container.name))
    return replace(container, phase=Phase.PREPARING)


def _start(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    if container.phase is not Phase.CREATED or container.container_id is None:
        return container
    if held.starts_once and not _is_noted(held, container):
        return container  # it must not look unmade after a crash, or it would be made again
    turn.tell(Start(key=held.key, container=container.name, container_id=container.container_id))
    return replace(container, phase=Phase.STARTING, is_doubtful=False)


def _is_noted(held: Held, container: HeldContainer) -> bool:
    return any(noted.container_id == container.container_id for noted in held.durable_notes.containers)


def _report(turn: Turn, held: Held) -> Held:
    """Report that it runs, and later whatever has changed."""
    if held.reported is None and any(one.phase not in _STARTED for one in held.containers):
        return held
    states = tuple(container.state for container in held.containers)
    if states == held.reported:
        return held
    kind = ReportKind.RUNNING if held.reported is None else ReportKind.UPDATE
    return turn.report(replace(held, reported=states), report_of(held, kind, turn.now.wall))


# Towards its end


def _end(turn: Turn, held: Held, ending: Ending) -> Held:
    held = replace(held, containers=tuple(_stop(turn, held, one) for one in held.containers))
    if not held.is_settled:
        return held
    final = final_of(held, _complete(held, ending), turn.now.wall)
    held = replace(held, final=final)
    if held.has_run:
        turn.tell(SaveLogs(key=held.key))
    else:
        held = replace(held, are_logs_saved=True)
    if held.is_journaled:
        turn.tell(WriteExit(key=held.key, final=final))
        return held
    return recorded(turn, held)


def _complete(held: Held, ending: Ending) -> Ending:
    """Add the exit code of an attempt that was stopped: that of its first container."""
    if ending.stopped_by is None:
        return ending
    return replace(ending, exit_code=held.containers[0].exit_code)


def recorded(turn: Turn, held: Held) -> Held:
    """Report the end, now that it is durable or need not be."""
    assert held.final is not None
    return turn.report(replace(held, is_recorded=True), held.final)


def _stop(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    if container.phase is Phase.WAITING:
        return replace(container, phase=Phase.EXITED)
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
    return replace(container, kill_by=kill_by)


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
    return replace(held, order=held.order or order, kill_at=min(latest, default=None))


# After its end


def _note(turn: Turn, held: Held) -> Held:
    notes = held.notes
    if not held.is_journaled or notes == held.noted:
        return held
    turn.tell(WriteNotes(key=held.key, notes=notes, urgent=held.starts_once and held.final is None))
    return replace(held, noted=notes)


def _clean_up(turn: Turn, held: Held) -> Held:
    """Remove the containers once exit, logs and acknowledgement are safe."""
    is_safe = held.is_recorded and held.are_logs_saved and held.is_acknowledged
    if not is_safe or held.is_removing or any(one.phase is Phase.PREPARING for one in held.containers):
        return held
    remove(turn, held)
    return replace(held, is_removing=True)


def remove(turn: Turn, held: Held) -> None:
    """Have what is left of it removed."""
    ids = tuple(one.container_id for one in held.containers if one.container_id is not None)
    turn.tell(Remove(key=held.key, container_ids=ids))


# What is learned about a container


def saw(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> Held:
    """Take over what the runtime says of a container."""
    if seen.condition is Condition.CREATED:
        made = replace(
            container,
            phase=Phase.CREATED,
            container_id=seen.container_id,
            image_digest=seen.image_digest or container.image_digest,
            is_doubtful=False,
        )
        return held.change(container.name, lambda _: made)
    held = _saw_start(turn, held, container, seen)
    if seen.condition is Condition.EXITED:
        known = held.container(container.name)
        assert known is not None
        held = saw_exit(turn, held, known, seen)
    return held


def _saw_start(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> Held:
    started_at = seen.started_at or turn.now.wall
    started = replace(
        container,
        phase=Phase.RUNNING,
        container_id=seen.container_id,
        image_digest=seen.image_digest or container.image_digest,
        has_run=True,
        started_at=started_at,
        started_monotonic=turn.now.monotonic,
        exit_code=None,
        error_code=None,
        error=None,
        kill_by=None,
        is_doubtful=False,
    )
    held = held.change(container.name, lambda _: started)
    if held.running_since is not None:
        return held
    since = turn.now.monotonic
    limit = held.assignment.spec.timeout_seconds
    if limit is not None:
        turn.tell(SetTimer(timer=Timer(kind=TimerKind.TIMEOUT, key=held.key), at=since + limit))
    return replace(held, running_since=since, started_at=held.started_at or started_at)


def is_repeated(container: HeldContainer, seen: Seen) -> bool:
    """Whether this end is not news: it has been told before, or belongs to an earlier start."""
    if container.phase not in (Phase.STARTING, Phase.RUNNING, Phase.CREATED):
        return True
    return seen.finished_at is not None and seen.finished_at == container.finished_at


def saw_exit(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> Held:
    """Take over an end, and have the container started again if its policy says so."""
    ended = replace(
        container,
        phase=Phase.EXITED,
        container_id=seen.container_id,
        has_run=True,
        started_at=seen.started_at or container.started_at,
        finished_at=seen.finished_at or turn.now.wall,
        exit_code=seen.exit_code,
        error_code=seen.error_code,
        error=seen.error,
        is_doubtful=False,
    )
    if failure := failure_of(ended):
        ended = replace(ended, error_code=failure[0], error=failure[1])
    if _is_restarted(held, ended):
        ended = _back_off(turn, held, ended)
    started_at = held.started_at or ended.started_at
    return replace(held, started_at=started_at).change(container.name, lambda _: ended)


def _is_restarted(held: Held, container: HeldContainer) -> bool:
    if held.ending is not None or held.order is not None:
        return False
    policy = held.assignment.spec.restart_policy
    if policy is RestartPolicy.ON_FAILURE:
        return failure_of(container) is not None
    return policy is RestartPolicy.ALWAYS


def _back_off(turn: Turn, held: Held, container: HeldContainer) -> HeldContainer:
    now = turn.now.monotonic
    lasted = now - container.started_monotonic >= RESTART_RESET_SECONDS
    exits = 0 if lasted else container.quick_exits
    wait = min(RESTART_BASE_SECONDS * 2.0 ** min(exits, 30), RESTART_MAX_SECONDS)
    timer = Timer(kind=TimerKind.RESTART, key=held.key, container=container.name)
    turn.tell(SetTimer(timer=timer, at=now + wait))
    return replace(container, phase=Phase.WAITING, quick_exits=exits + 1)


def restart(turn: Turn, held: Held, container: HeldContainer) -> Held:
    """Start a container again whose wait is over."""
    if container.phase is not Phase.WAITING or held.ending is not None or container.container_id is None:
        return held
    turn.tell(Start(key=held.key, container=container.name, container_id=container.container_id, again=True))
    again = replace(container, phase=Phase.STARTING, restart_count=container.restart_count + 1)
    return held.change(container.name, lambda _: again)


def failed(held: Held, name: str, error_code: str, error: str) -> Held:
    """The container could not be made or started."""
    return held.change(name, lambda one: replace(one, phase=Phase.FAILED, error_code=error_code, error=error))


def vanished(turn: Turn, held: Held, container: HeldContainer) -> Held:
    """Somebody removed the container."""
    if container.phase in (Phase.EXITED, Phase.FAILED, Phase.GONE):
        return held
    gone = replace(
        container,
        phase=Phase.GONE,
        finished_at=turn.now.wall if container.has_run else None,
        exit_code=None,
        error_code=ErrorCode.EXTERNAL,
        error="somebody removed its container; its exit code cannot be known",
    )
    return held.change(container.name, lambda _: gone)


def doubt(turn: Turn, held: Held, name: str) -> Held:
    """The runtime did not answer: ask it again later what has become of the container."""
    timer = Timer(kind=TimerKind.LOOK, key=held.key)
    turn.tell(SetTimer(timer=timer, at=turn.now.monotonic + LOOK_AGAIN_SECONDS))
    return held.change(name, lambda one: replace(one, is_doubtful=True))


def look(turn: Turn, held: Held) -> None:
    """Ask the runtime about the containers in doubt, if there are any."""
    if any(container.is_doubtful for container in held.containers):
        turn.tell(Look(key=held.key))


def looked(turn: Turn, held: Held, seen: dict[str, Seen]) -> Held:
    """Take over the runtime's answer for the containers in doubt."""
    for container in held.containers:
        if not container.is_doubtful:
            continue
        found = seen.get(container.name)
        if found is None:
            held = vanished(turn, held, replace(container, is_doubtful=False))
        elif container.phase is Phase.RUNNING and found.condition is Condition.RUNNING:
            held = _stop_again(held, container)
        elif found.condition is Condition.EXITED and is_repeated(container, found):
            # The restart that was in doubt never happened.
            held = held.change(
                container.name, lambda one: replace(one, phase=Phase.WAITING, is_doubtful=False)
            )
            known = held.container(container.name)
            assert known is not None
            held = restart(turn, held, replace(known, restart_count=known.restart_count - 1))
        else:
            held = saw(turn, held, container, found)
    return held


def _stop_again(held: Held, container: HeldContainer) -> Held:
    """The stop was not taken: it is sent again, with what is left of the grace."""
    latest = [at for at in (held.kill_at, container.kill_by) if at is not None]
    held = replace(held, kill_at=min(latest, default=None))
    return held.change(container.name, lambda one: replace(one, kill_by=None, is_doubtful=False))


def timed_out(turn: Turn, held: Held) -> Held:
    """The attempt has used up `timeoutSeconds`."""
    order = StopOrder(task_id=held.key.task_id, attempt=held.key.attempt, reason=StopReason.TIMEOUT)
    return held if held.ending is not None else order_stop(turn, held, order)
