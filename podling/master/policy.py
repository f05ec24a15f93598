"""The operator's policy as this master keeps it."""

from dataclasses import dataclass, replace
from datetime import datetime

from podling.core.permissions import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInForce:
    """`source` is its file, None without one; `problem` why a newer state of that was not taken."""

    policy: Policy
    source: str | None
    loaded_at: datetime
    problem: str | None = None

    def replaced(self, policy: Policy, now: datetime) -> "PolicyInForce":
        return replace(self, policy=policy, loaded_at=now, problem=None)

    def kept(self, problem: str) -> "PolicyInForce":
        """Return the same policy, with the reason why it is not another."""
        return replace(self, problem=problem)
