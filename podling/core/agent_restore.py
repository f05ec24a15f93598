"""What a worker makes of its journal and of what its runtimes still have, after a start."""

from collections import defaultdict
from collections.abc import Sequence

from podling.core import agent_learn as learn
from podling.core.agent_attempt import Held, HeldContainer, Phase, new_held
from podling.core.agent_events import JournalRow, NotedContainer, Seen, Timer, TimerKind
from podling.core.agent_instructions import SaveLogs, SetTimer
from podling.core.agent_turn import Turn
from podling.core.protocol import AttemptKey, StopOrder
from podling.core.retry import ErrorCode
from podling.core.spec import ENDS_WITH_WORKER
from podling.core.value import changed

GONE_SENTENCE = "its container was gone when the worker came back; its exit code cannot be known"
LEFT_SENTENCE = "its worker ended while it ran, and it with the worker; how far it came cannot be known"


def restore(turn: Turn, rows: Sequence[JournalRow], seen: Sequence[Seen]) -> list[Seen]:
    """Take over every attempt of the journal; return the containers that it does not know.

    What runs is adopted, what has ended is reported. What was not started yet waits for a master's
    word, because another node may have it by now.
    """
    by_key: dict[AttemptKey, dict[str, Seen]] = defaultdict(dict)
    for one in seen:
        by_key[one.key][one.container_name] = one
    for row in rows:
        if row.done or row.assignment is None:
            turn.remember_done(row.key, row.final)
        else:
            turn.attempts[row.key] = _restore_one(turn, row, by_key[row.key])
    return [one for one in seen if one.key not in turn.attempts]


def _restore_one(turn: Turn, row: JournalRow, seen: dict[str, Seen]) -> Held:
    assert row.assignment is not None
    held = changed(
        new_held(row.assignment),
        is_confirmed=False,
        is_journaled=True,
        is_intended=True,
        noted=row.notes,
        durable_notes=row.notes,
        is_acknowledged=row.notes.acknowledged,
        are_logs_saved=row.notes.logs_saved,
        order=_order(row),
    )
    held = _with_noted(held, row.notes.containers)
    if row.final is not None:
        return _ended(turn, held, row, seen)
    for container in held.containers:
        held = _take_over(turn, held, container, seen.get(container.name))
    return _with_timeout(turn, held, row)


def _order(row: JournalRow) -> StopOrder | None:
    reason = row.notes.stopped_by
    if reason is None:
        return None
    return StopOrder(task_id=row.key.task_id, attempt=row.key.attempt, reason=reason)


def _with_noted(held: Held, noted: Sequence[NotedContainer]) -> Held:
    for note in noted:
        held = held.change(
            note.name,
            lambda one, note=note: changed(  # type: ignore[misc]
                one, container_id=note.container_id, restart_count=note.restart_count
            ),
        )
    return held


def _take_over(turn: Turn, held: Held, container: HeldContainer, seen: Seen | None) -> Held:
    if seen is not None:
        return learn.saw(turn, held, container, seen)
    if container.container_id is None and not _may_have_run_with_worker(held):
        return held  # never made, or made in the very last moment and removed since
    if learn.never_started(turn, held, container):
        return held.change(container.name, lambda one: HeldContainer(spec=one.spec))
    sentence = LEFT_SENTENCE if held.assignment.spec.runtime in ENDS_WITH_WORKER else GONE_SENTENCE
    gone = changed(container, phase=Phase.GONE, error_code=ErrorCode.EXTERNAL, error=sentence)
    return held.change(container.name, lambda one: changed(gone, has_run=True))  # for all that is known


def _may_have_run_with_worker(held: Held) -> bool:
    """Whether it may have run and left no trace; what starts once has its start on record first."""
    return held.assignment.spec.runtime in ENDS_WITH_WORKER and not held.starts_once


def _with_timeout(turn: Turn, held: Held, row: JournalRow) -> Held:
    """The time that an attempt may take goes on from its first start."""
    limit = held.assignment.spec.timeout_seconds
    since = row.notes.running_since
    if limit is None or since is None or since > turn.now.monotonic:
        return held
    turn.tell(SetTimer(timer=Timer(kind=TimerKind.TIMEOUT, key=held.key), at=since + limit))
    return changed(held, running_since=since)


def _ended(turn: Turn, held: Held, row: JournalRow, seen: dict[str, Seen]) -> Held:
    """Its end is in the journal: report it (again), save its log, remove what is left."""
    assert row.final is not None
    held = changed(held, final=row.final, is_recorded=True)
    for container in held.containers:
        found = seen.get(container.name)
        held = held.change(
            container.name,
            lambda one, found=found: changed(  # type: ignore[misc]
                one,
                phase=Phase.EXITED,
                container_id=found.container_id if found else one.container_id,
            ),
        )
    if held.assignment.spec.runtime in ENDS_WITH_WORKER and not seen:
        held = changed(held, are_logs_saved=True)  # what has left a log is there
    if not held.are_logs_saved:
        turn.tell(SaveLogs(key=held.key))
    return held if held.is_acknowledged else turn.report(held, row.final)
