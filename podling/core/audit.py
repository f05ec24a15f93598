"""The audit: who changed what, from where, and how that went."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from podling.core.token import SECRET_PATTERN
from podling.core.value import value

LONGEST_ID = 128


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"  # the role, or a rule, says no
    FAILED = "failed"  # right to ask for, and not possible
    UNKNOWN = "unknown"  # who asked hung up before the answer


@value
class AuditEntry:
    """One request that wanted a change. `route` is a pattern and `ids` what stood in its places:
    neither a body nor a secret is ever kept.
    """

    at: datetime
    actor: str
    token_id: str | None = None
    address: str | None = None
    method: str
    route: str
    ids: Mapping[str, str] = field(default_factory=dict)
    outcome: Outcome
    status: int | None = None
    code: str | None = None


def outcome_of(status: int | None) -> Outcome:
    """Return how a request went that was answered with this status; None if it was not answered."""
    if status is None:
        return Outcome.UNKNOWN
    if status in (401, 403):
        return Outcome.REFUSED
    return Outcome.DONE if status < 400 else Outcome.FAILED


def shown_id(text: str) -> str:
    """Return what stood in a path as the audit keeps it: short, visible, and no token."""
    visible = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return SECRET_PATTERN.sub("podling_***", visible)[:LONGEST_ID]
