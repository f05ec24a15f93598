"""What explain says of a task's attempts: how many, how the last one ended, and what to do about that."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from podling.core.explanation import Reason
from podling.core.retry import advice_for
from podling.core.task import Attempt, AttemptStatus, Task

_LONGEST_CLAUSE = 300


def last_ended(attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the newest attempt that is over."""
    ended = [attempt for attempt in attempts if attempt.finished_at is not None]
    return max(ended, key=lambda attempt: attempt.attempt, default=None)


def ending(attempt: Attempt) -> str:
    """Return how it ended, as a clause."""
    if attempt.status is AttemptStatus.REFUSED:
        words = f"node {attempt.node_id} sent attempt {attempt.attempt} back"
    elif attempt.status is AttemptStatus.LOST:
        words = f"attempt {attempt.attempt} was lost with node {attempt.node_id}"
    else:
        words = f"attempt {attempt.attempt} failed on node {attempt.node_id}"
        words += f" with {clause(attempt.error_code)}" if attempt.error_code else ""
    return f"{words} ({clause(attempt.error)})" if attempt.error else words


def advice_of(last: Attempt | None) -> str | None:
    """Return what a person can do about how the last attempt ended."""
    return None if last is None else advice_for(last.error_code)


def history(task: Task, last: Attempt | None = None) -> tuple[Reason, ...]:
    """Count the attempts by the budgets they are charged to, and tell how the `last` one ended."""
    counts = {
        "failures": task.failures,
        "maxAttempts": task.spec.max_attempts,
        "losses": task.losses,
        "maxLosses": task.spec.max_losses,
    }
    counted = _counted(task, counts)
    if last is None:
        return counted
    details = {
        "attempt": last.attempt,
        "nodeId": last.node_id,
        "errorCode": last.error_code,
        "exitCode": last.exit_code,
    }
    return (Reason(code="last_attempt", message=ending(last), details=details | counts), *counted)


def _counted(task: Task, counts: Mapping[str, int]) -> tuple[Reason, ...]:
    if not task.attempt:
        return ()
    attempts = "1 attempt" if task.attempt == 1 else f"{task.attempt} attempts"
    message = (
        f"{attempts} so far: {task.failures} of {task.spec.max_attempts} failed,"
        f" {task.losses} lost of {task.spec.max_losses} that may be"
    )
    return (Reason(code="attempts", message=message, details={"attempts": task.attempt, **counts}),)


def moment(at: datetime) -> str:
    """Return the time as a sentence shows it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clause(text: str) -> str:
    """Return `text` as part of a sentence: one line, no full stop, not too long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(words) > _LONGEST_CLAUSE:
        words = words[:_LONGEST_CLAUSE] + "…"
    return words.replace(". ", "; ").rstrip(" .!?") or "no reason was given"
