"""What explain answers with."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from podling.core.task import TaskStatus
from podling.core.value import value


@value
class Reason:
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@value
class NodeFit:
    node_id: str
    fits: bool
    lacks: tuple[str, ...] = ()


@value
class Explanation:
    """`summary` is one sentence. `nodes` is given for pending tasks only, MOST_NODES at most."""

    task_id: str
    status: TaskStatus
    summary: str
    reasons: tuple[Reason, ...] = ()
    nodes: tuple[NodeFit, ...] = ()
    queue_position: int | None = None
    next_event_at: datetime | None = None
    advice: str | None = None
