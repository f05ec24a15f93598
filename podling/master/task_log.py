"""A line of the master's log for every move of a task, for those who want it (`--log-tasks`)."""

import logging
from collections.abc import Sequence

from podling.core.task import Task
from podling.master.drafts import Applied

_log = logging.getLogger("podling.tasks")


def log_moves(applied: Sequence[Applied]) -> None:
    """Write down what this master committed; what another one did is in its log."""
    for change in applied:
        before = None if change.before is None else change.before.status
        if before is not change.after.status:
            _log.info("task %s is %s", change.after.task_id, change.after.status, extra=_facts(change.after))


def _facts(task: Task) -> dict[str, object]:
    facts = {
        "queue": task.spec.queue,
        "attempt": task.attempt or None,
        "node": task.node_id,
        "code": task.error_code,
        "exit": task.exit_code,
        "reason": task.dead_letter_reason,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}
