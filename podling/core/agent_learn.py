"""What a worker learns about a container: it was made, runs, has ended, is gone, or nobody knows."""

from podling.core.agent_advance import change_container
from podling.core.agent_attempt import LIVE, Held, HeldContainer, Phase, failure_of
from podling.core.agent_events import Condition, HealthTold, Seen, Timer, TimerKind
from podling.core.agent_instructions import Look, SetTimer, Start
from podling.core.agent_turn import Turn
from podling.core.retry import ErrorCode
from podling.core.spec import RestartPolicy
from podling.core.task import HealthStatus
from podling.core.value import changed

RESTART_BASE_SECONDS = 1.0
RESTART_MAX_SECONDS = 300.0
RESTART_RESET_SECONDS = 600.0  # who ran that long starts again without a wait
LOOK_AGAIN_SECONDS = 2.0
UNSURE_SENTENCE = "its start was broken off and may have happened; it must not be started twice"


def saw(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> Held:
    """Take over what the runtime says of a container."""
    if seen.condition is Condition.CREATED:
        if _start_was_intended(turn, held, container, seen):
            return failed(held, container.name, ErrorCode.UNKNOWN_EXIT, UNSURE_SENTENCE, has_run=True)
        made = changed(
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


def _start_was_intended(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> bool:
    """Whether it must not start again although it looks unstarted: an engine that was killed during
    a start may have forgotten that there was one."""
    if not held.starts_once or never_started(turn, held, container):
        return False
    return any(noted.container_id == seen.container_id for noted in held.durable_notes.containers)


def _saw_start(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> Held:
    started_at = seen.started_at or turn.now.wall
    started = changed(
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
        health=container.health if seen.health is HealthStatus.UNKNOWN else seen.health,
        is_doubtful=False,
    )
    held = held.change(container.name, lambda _: started)
    if held.running_since is not None:
        return held
    since = turn.now.monotonic
    limit = held.assignment.spec.timeout_seconds
    if limit is not None:
        turn.tell(SetTimer(timer=Timer(kind=TimerKind.TIMEOUT, key=held.key), at=since + limit))
    return changed(held, running_since=since, started_at=held.started_at or started_at)


def is_repeated(container: HeldContainer, seen: Seen) -> bool:
    """Whether this end is not news: it has been told before, or belongs to an earlier start."""
    if container.phase not in (Phase.STARTING, Phase.RUNNING, Phase.CREATED):
        return True
    return seen.finished_at is not None and seen.finished_at == container.finished_at


def saw_exit(turn: Turn, held: Held, container: HeldContainer, seen: Seen) -> Held:
    """Take over an end, and have the container started again if its policy says so."""
    ended = changed(
        container,
        phase=Phase.EXITED,
        container_id=seen.container_id,
        has_run=True,
        started_at=seen.started_at or container.started_at,
        finished_at=seen.finished_at or turn.now.wall,
        exit_code=seen.exit_code,
        error_code=seen.error_code,
        error=seen.error,
        health=HealthStatus.UNKNOWN,
        is_silent=seen.is_silent,
        is_doubtful=False,
    )
    if failure := failure_of(ended):
        ended = changed(ended, error_code=failure[0], error=failure[1])
    if _is_restarted(held, ended):
        ended = _back_off(turn, held, ended)
    started_at = held.started_at or ended.started_at
    return changed(held, started_at=started_at).change(container.name, lambda _: ended)


def health_told(turn: Turn, event: HealthTold) -> None:
    """Take over what a check says of a container that runs, or whose start is about to be told."""
    seen = event.seen

    def change(held: Held, container: HeldContainer) -> Held:
        if container.phase not in LIVE:
            return held
        return held.change(container.name, lambda one: changed(one, health=seen.health))

    change_container(turn, seen.key, seen.container_name, change)


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
    return changed(container, phase=Phase.WAITING, quick_exits=exits + 1)


def restart(turn: Turn, held: Held, container: HeldContainer) -> Held:
    """Start a container again whose wait is over."""
    if container.phase is not Phase.WAITING or held.ending is not None or container.container_id is None:
        return held
    turn.tell(Start(key=held.key, container=container.name, container_id=container.container_id, again=True))
    again = changed(container, phase=Phase.STARTING, restart_count=container.restart_count + 1)
    return held.change(container.name, lambda _: again)


def failed(held: Held, name: str, error_code: str, error: str, *, has_run: bool = False) -> Held:
    """The container could not be made or started, or nobody knows that it was not (`has_run`)."""
    return held.change(
        name,
        lambda one: changed(
            one, phase=Phase.FAILED, error_code=error_code, error=error, has_run=one.has_run or has_run
        ),
    )


def vanished(turn: Turn, held: Held, container: HeldContainer) -> Held:
    """Somebody removed the container. One that was about to start may have run."""
    if container.phase in (Phase.EXITED, Phase.FAILED, Phase.GONE):
        return held
    may_have_run = container.has_run or container.phase in LIVE
    gone = changed(
        container,
        phase=Phase.GONE,
        has_run=may_have_run,
        finished_at=turn.now.wall if may_have_run else None,
        exit_code=None,
        error_code=ErrorCode.EXTERNAL,
        error="somebody removed its container; its exit code cannot be known",
    )
    return held.change(container.name, lambda _: gone)


def missing(turn: Turn, held: Held, container: HeldContainer) -> Held:
    """The runtime does not have it: somebody removed it, or it was never started and is made again."""
    if never_started(turn, held, container):
        return held.change(container.name, lambda one: HeldContainer(spec=one.spec))
    return vanished(turn, held, changed(container, is_doubtful=False))


def never_started(turn: Turn, held: Held, container: HeldContainer) -> bool:
    """Whether a container that its runtime does not have has surely never been started."""
    is_exact = held.assignment.spec.runtime in turn.state.exact_runtimes
    return is_exact and not container.has_run and container.restart_count == 0


def doubt(turn: Turn, held: Held, name: str) -> Held:
    """The runtime did not answer: ask it again later what has become of the container."""
    timer = Timer(kind=TimerKind.LOOK, key=held.key)
    turn.tell(SetTimer(timer=timer, at=turn.now.monotonic + LOOK_AGAIN_SECONDS))
    return held.change(name, lambda one: changed(one, is_doubtful=True))


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
            held = missing(turn, held, container)
        elif container.phase is Phase.RUNNING and found.condition is Condition.RUNNING:
            held = _stop_again(held, container)
        elif found.condition is Condition.EXITED and is_repeated(container, found):
            # The restart that was in doubt never happened.
            held = held.change(
                container.name, lambda one: changed(one, phase=Phase.WAITING, is_doubtful=False)
            )
            known = held.container(container.name)
            assert known is not None
            held = restart(turn, held, changed(known, restart_count=known.restart_count - 1))
        else:
            held = saw(turn, held, container, found)
    return held


def _stop_again(held: Held, container: HeldContainer) -> Held:
    """The stop was not taken: it is sent again, with what is left of the grace."""
    latest = [at for at in (held.kill_at, container.kill_by) if at is not None]
    held = changed(held, kill_at=min(latest, default=None))
    return held.change(container.name, lambda one: changed(one, kill_by=None, is_doubtful=False))
