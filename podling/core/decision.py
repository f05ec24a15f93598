"""Decisions: recorded refusals and delays. What is decided again within an hour is one record that counts.

Its id follows from what was decided, so that masters count in one record without asking each other.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from podling.core.errors import PodlingError
from podling.core.traffic import Delay
from podling.core.value import value

WINDOW_SECONDS = 3600
MOST_MESSAGE_CHARACTERS = 500
NOT_KEPT = "decisions_not_kept"
"""The code of the record that counts what there were too many of to be kept one by one."""


@value
class Decision:
    """`at` is the last time, `door` how it came in (`submit`, `sql`, …; None: not by a door)."""

    decision_id: str
    at: datetime
    code: str
    task_id: str | None
    actor: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    door: str | None = None
    count: int = 1
    first_at: datetime


def refusal(
    error: PodlingError,
    now: datetime,
    *,
    actor: str,
    door: str | None = None,
    task_id: str | None = None,
    code: str | None = None,
) -> Decision:
    """Return the record of a refusal; the same actor's next one in the same words has the same id."""
    return _with_id(
        Decision(
            decision_id="",
            at=now,
            code=code or error.code,
            task_id=task_id,
            actor=actor,
            message=error.message[:MOST_MESSAGE_CHARACTERS],
            details=error.details,
            door=door,
            first_at=now,
        ),
        error.message,
    )


def delay_decision(task_id: str, delay: Delay, now: datetime) -> Decision:
    """Return the record of a start that was put off; the same task's next one for that reason has its id."""
    record = Decision(
        decision_id="",
        at=now,
        code=delay.code,
        task_id=task_id,
        actor="leader",
        message=delay.message,
        details={"queue": delay.queue, **delay.details},
        first_at=now,
    )
    return _with_id(record, delay.queue)


def by_rule(decision: Decision) -> Decision:
    """Return the record under which all refusals of its actor by its rule are counted, in whatever words."""
    return _with_id(decision, "")


def joined(earlier: Decision, later: Decision) -> Decision:
    """Return one record of both, in the later one's words."""
    first, last = sorted((earlier, later), key=lambda decision: decision.at)
    return replace(
        last,
        count=earlier.count + later.count,
        first_at=min(earlier.first_at, later.first_at),
        decision_id=first.decision_id,
    )


def not_kept(count: int, now: datetime) -> Decision:
    """Return the record that stands for so many that were not kept."""
    record = Decision(
        decision_id="",
        at=now,
        code=NOT_KEPT,
        task_id=None,
        actor="podling",
        message="refusals came faster than they are kept one by one; these are only counted",
        first_at=now,
        count=count,
    )
    return _with_id(record, "")


def _with_id(decision: Decision, words: str) -> Decision:
    window = int(decision.at.timestamp() // WINDOW_SECONDS)
    rule = str(decision.details.get("rule", ""))
    parts = (decision.code, decision.task_id or "", decision.actor, decision.door or "", rule, words)
    key = "\0".join((str(window), *parts))
    return replace(decision, decision_id=hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32])
