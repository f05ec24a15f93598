"""Dead letters: tasks that failed for good and that nobody has dismissed or replayed yet."""

from datetime import datetime
from enum import StrEnum

from podling.core.task import Task, TaskEvent, TaskStatus
from podling.core.transition import line
from podling.core.value import value

DISMISSED, REPLAYED = "dismissed", "replayed"
"""The lines of the timeline that tell how a dead letter left the list."""


class DeadLetterReason(StrEnum):
    """Why no further attempt may follow. What each means is in `MEANINGS`."""

    NON_RETRYABLE = "NON_RETRYABLE"
    MAX_ATTEMPTS_EXCEEDED = "MAX_ATTEMPTS_EXCEEDED"
    MAX_LOSSES_EXCEEDED = "MAX_LOSSES_EXCEEDED"
    AT_MOST_ONCE = "AT_MOST_ONCE"
    NODE_LOST = "NODE_LOST"
    QUEUE_TIMEOUT = "QUEUE_TIMEOUT"
    DEADLINE = "DEADLINE"
    NOT_ADMITTED = "NOT_ADMITTED"


MEANINGS: dict[str, str] = {
    DeadLetterReason.NON_RETRYABLE: "an error like this one is not tried again, by itself or by its policy",
    DeadLetterReason.MAX_ATTEMPTS_EXCEEDED: "all of maxAttempts are used up",
    DeadLetterReason.MAX_LOSSES_EXCEEDED: "it was lost more often than maxLosses allows",
    DeadLetterReason.AT_MOST_ONCE: "delivery is at_most_once, so it is not tried again",
    DeadLetterReason.NODE_LOST: "its node was lost, and onLost or an operator says that it failed with it",
    DeadLetterReason.QUEUE_TIMEOUT: "it waited longer than queueTimeoutSeconds",
    DeadLetterReason.DEADLINE: "deadlineSeconds were over, retries included",
    DeadLetterReason.NOT_ADMITTED: "it came by SQL, and the door refused it",
}


@value
class DeadLetter:
    """What such a task is found by; `at` is when it ended."""

    task_id: str
    at: datetime
    queue: str
    reason: str
    error_code: str | None


def letter_of(task: Task) -> DeadLetter | None:
    """Return the letter of a task that has failed for good; None of any other."""
    if task.status is not TaskStatus.FAILED or task.dead_letter_reason is None:
        return None
    return DeadLetter(
        task_id=task.task_id,
        at=task.finished_at or task.created_at,
        queue=task.spec.queue,
        reason=task.dead_letter_reason,
        error_code=task.error_code,
    )


def dismissal(task: Task, now: datetime, actor: str) -> TaskEvent:
    """Return the line that tells who took the letter off the list."""
    return line(task, now, DISMISSED, "taken off the dead-letter list", actor)


def replay_line(task: Task, new_id: str, now: datetime, actor: str) -> TaskEvent:
    """Return the original's line about its replay."""
    return TaskEvent(
        task_id=task.task_id,
        at=now,
        type=REPLAYED,
        actor=actor,
        message=f"replayed as task {new_id}",
        attempt=task.attempt or None,
        details={"taskId": new_id},
    )
